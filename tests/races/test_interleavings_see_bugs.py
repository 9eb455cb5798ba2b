"""An arena that passed everything would be worth nothing: each bug here breaks an invariant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.planting import Bug, planted
from tests.races.arena import Arena, arena


@pytest.fixture(scope="module")
def ring(database_url: str) -> Iterator[Arena]:
    with arena(database_url) as made:
        yield made


@dataclass(frozen=True)
class Case:
    """A bug, the calls that show it, and the invariant that it breaks."""

    bug: Bug
    calls: tuple[str, ...]
    breaks: str


CASES = {
    "finish ignores the epoch": Case(
        Bug("finish", r"l\.lease_epoch = i\.lease_epoch and", ""),
        ("claim", "finish", "sweep"),
        "no_stale_effect",
    ),
    "extend ignores the epoch": Case(
        Bug("_hold", r"and w\.lease_epoch = i\.lease_epoch and", "and"),
        ("claim", "sweep", "extend"),
        "no_stale_effect",
    ),
    "a late finish changes what has ended": Case(
        Bug("_finish_late", r"and e\.lease_epoch = u\.lease_epoch and e\.status = 'unknown'", ""),
        ("finish", "fail"),
        "no_stale_effect",
    ),
    "a claim keeps the epoch": Case(
        Bug("_take", r"l\.lease_epoch \+ 1, l\.attempt \+ 1,", "l.lease_epoch, l.attempt + 1,"),
        ("claim", "sweep"),
        "no_double_claim",
    ),
    "sweep loses what it takes back": Case(
        Bug("_sweep_leases", r"where j\.status = 'pending'\n", "where false\n"),
        ("sweep", "get"),
        "no_lost_job",
    ),
    "sweep decides by what it saw before it waited": Case(
        Bug("_sweep_leases", "for update skip locked", ""),
        ("sweep", "extend"),
        "as_if_one_by_one",
    ),
    "sweep does not bear that others are at work": Case(
        Bug("_sweep_leases", "for update skip locked", "for update nowait"),
        ("sweep", "extend"),
        "no_error",
    ),
    "ends are settled twice": Case(
        Bug("_settle", "(execute v_function using) (p_jobs)", r"\1 \2; \1 \2"),
        ("finish", "get"),
        "settled_equals_ended",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bug_breaks_its_invariant_in_some_order(ring: Arena, name: str) -> None:
    case = CASES[name]
    with planted(ring.interleaver.watcher, case.bug), pytest.raises(AssertionError) as broken:
        ring.race(*case.calls)
    assert case.breaks in {entry.name for entry in broken.traceback}

"""An arena that passed everything would be worth nothing: each bug here breaks an invariant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from jobengine import schema
from tests.races.arena import Arena, arena
from tests.races.world import World


@pytest.fixture(scope="module")
def ring(database_url: str) -> Iterator[Arena]:
    with arena(database_url) as made:
        yield made


@dataclass(frozen=True)
class Bug:
    """A change of one function, the calls that show it, and the invariant that it breaks."""

    function: str
    changes: dict[str, str]
    calls: tuple[str, ...]
    breaks: str


BUGS = {
    "finish ignores the epoch": Bug(
        "finish",
        {"l.lease_epoch = i.lease_epoch and": ""},
        ("claim", "finish", "sweep"),
        "no_stale_effect",
    ),
    "extend ignores the epoch": Bug(
        "_hold",
        {"and w.lease_epoch = i.lease_epoch and": "and"},
        ("claim", "sweep", "extend"),
        "no_stale_effect",
    ),
    "a late finish changes what has ended": Bug(
        "_finish_late",
        {"and e.lease_epoch = u.lease_epoch and e.status = 'unknown'": ""},
        ("finish", "fail"),
        "no_stale_effect",
    ),
    "a claim keeps the epoch": Bug(
        "_take",
        {"l.lease_epoch + 1, l.attempt + 1,": "l.lease_epoch, l.attempt + 1,"},
        ("claim", "sweep"),
        "no_double_claim",
    ),
    "sweep loses what it takes back": Bug(
        "_sweep_leases",
        {"where j.status = 'pending'\n": "where false\n"},
        ("sweep", "get"),
        "no_lost_job",
    ),
    "sweep decides by what it saw before it waited": Bug(
        "_sweep_leases",
        {"for update skip locked": ""},
        ("sweep", "extend"),
        "as_if_one_by_one",
    ),
    "ends are settled twice": Bug(
        "_settle",
        {"execute v_function using": "execute v_function using p_jobs; execute v_function using"},
        ("finish", "get"),
        "settled_equals_ended",
    ),
    "sweep does not bear that others are at work": Bug(
        "_sweep_leases",
        {"for update skip locked": "for update nowait"},
        ("sweep", "extend"),
        "no_error",
    ),
}


@contextmanager
def installed(world: World, bug: Bug) -> Iterator[None]:
    text = (schema.sql_folder() / "functions" / f"{bug.function}.sql").read_text()
    wrong = text
    for old, new in bug.changes.items():
        assert old in wrong, f"{bug.function}.sql does not say {old!r} any more"
        wrong = wrong.replace(old, new)
    world.owner.execute(wrong.encode())
    try:
        yield
    finally:
        world.owner.execute(text.encode())


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_breaks_its_invariant_in_some_order(ring: Arena, name: str) -> None:
    bug = BUGS[name]
    with installed(ring.world, bug), pytest.raises(AssertionError) as broken:
        ring.race(*bug.calls)
    assert bug.breaks in {entry.name for entry in broken.traceback}

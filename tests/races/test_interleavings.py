"""Invariants 1, 2, 3 and 5 in every order in which calls can meet, on a real server.

`arena.race` fails for the first order that breaks one: no_double_claim, no_lost_job,
no_stale_effect, settled_equals_ended, no error, and no answer that the same calls made one by one
could not have given.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

import pytest

from tests.races.arena import OPERATIONS, Arena, arena

THREE = ["claim", "finish", "sweep", "cancel", "extend"]


@pytest.fixture(scope="module")
def ring(database_url: str) -> Iterator[Arena]:
    with arena(database_url) as made:
        yield made


@pytest.mark.parametrize("names", list(combinations_with_replacement(THREE, 3)), ids="-".join)
def test_invariants_hold_in_every_order_of_three_calls(ring: Arena, names: list[str]) -> None:
    assert 30 <= ring.race(*names) <= 90


@pytest.mark.parametrize("names", list(combinations_with_replacement(OPERATIONS, 2)), ids="-".join)
def test_invariants_hold_in_every_order_of_two_calls(ring: Arena, names: list[str]) -> None:
    assert 4 <= ring.race(*names) <= 6

"""The whole engine against its model, by steps that Hypothesis chooses.

HYPOTHESIS_PROFILE=deep runs it longer.
"""

from __future__ import annotations

import os

import psycopg
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.rows import DictRow

from jobengine.testing.model import Ended, Item, Request
from tests.property.machine import bound
from tests.property.pair import Pair, prepare

settings.register_profile("machine", max_examples=200, stateful_step_count=50, print_blob=True)
settings.register_profile("deep", max_examples=2000, stateful_step_count=80, print_blob=True)


def test_the_engine_does_what_the_model_says(db: psycopg.Connection[DictRow]) -> None:
    profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "machine"))
    run_state_machine_as_test(bound(db, prepare(db)), settings=profile)


@pytest.mark.parametrize("losses", [19, 20])
def test_twenty_leases_lost_in_a_row_end_a_job(
    db: psycopg.Connection[DictRow], losses: int
) -> None:
    """A way that is too long for steps chosen at random."""
    pair = Pair(db, prepare(db))
    [job_id] = pair.enqueue([Item("sum", {"parent": 1})])
    pair.check()
    for _ in range(losses):
        pair.claim([Request("ada", ("default",), 1, two_phase="always")])
        pair.check()
        pair.tick(10)
        pair.sweep()
        pair.check()
    assert isinstance(pair.model.jobs[job_id].at, Ended) == (losses == 20)
    pair.close()

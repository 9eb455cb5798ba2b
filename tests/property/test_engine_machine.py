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

from tests.property.machine import EngineMachine, bound
from tests.property.pair import prepare

settings.register_profile("machine", max_examples=150, stateful_step_count=30, print_blob=True)
settings.register_profile("deep", max_examples=500, stateful_step_count=50, print_blob=True)


@pytest.fixture
def machine(db: psycopg.Connection[DictRow]) -> type[EngineMachine]:
    return bound(db, prepare(db))


def test_the_engine_does_what_the_model_says(machine: type[EngineMachine]) -> None:
    profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "machine"))
    run_state_machine_as_test(machine, settings=profile)

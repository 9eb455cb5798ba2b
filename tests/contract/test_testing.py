"""What `jobengine.testing` offers is listed, documented, and there without Hypothesis."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import psycopg
import pytest
from psycopg.rows import DictRow

import jobengine.testing
from jobengine.testing.model import JobType
from jobengine.testing.settle import SettleMachine

PUBLIC = {name: getattr(jobengine.testing, name) for name in jobengine.testing.__all__}
PROGRAM = """
import sys
sys.modules["hypothesis"] = None
import jobengine.sync, jobengine.testing
try:
    import jobengine.testing.settle
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(PUBLIC[name])


def test_every_method_of_the_machine_that_a_user_may_call_is_documented() -> None:
    methods = {name: value for name, value in vars(SettleMachine).items() if callable(value)}
    assert [n for n, value in methods.items() if n[0] != "_" and not inspect.getdoc(value)] == []


def test_without_hypothesis_only_the_machine_is_missing() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert said.stdout == 'SettleMachine needs Hypothesis: pip install "jobengine[testing]"\n'


def test_the_limits_of_a_type_in_the_model_are_the_engines(db: psycopg.Connection[DictRow]) -> None:
    db.execute("select jobengine.register_job_type('plain')")
    row = db.execute("select * from jobengine.job_type").fetchone()
    assert row is not None
    expected = dataclasses.asdict(JobType("plain"))
    assert expected.pop("name") == row["job_type"]
    assert expected.pop("settle") is row["settle_function"] is None
    assert expected == {name: row[name] for name in expected}

"""A pytest plugin that writes down whether, and where, a run failed: `pytest -p` in a copy.

A failed test is a finding only where the test itself failed, and not over an error of someone who
writes nonsense: a mutant with a name that does not exist is found by anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import jobengine
from jobengine.errors import SchemaMismatch

ACCOUNT = "JOBENGINE_MUTANT_ACCOUNT"
# Class 42 is what statements are refused for that cannot work, except a right that is missing.
_NONSENSE = "42"
_MISSING_RIGHT = "42501"

_account: dict[str, Any] = {"package": jobengine.__file__, "passed": 0}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what passed."""
    if report.when == "call" and report.passed:
        _account["passed"] += 1


def pytest_exception_interact(
    node: pytest.Item | pytest.Collector,
    call: pytest.CallInfo[Any],
    report: pytest.CollectReport | pytest.TestReport,
) -> None:
    """Keep the first failure."""
    assert call.excinfo is not None
    of_test = isinstance(report, pytest.TestReport) and report.when == "call"
    finding = of_test and not any(map(_is_nonsense, _causes(call.excinfo.value)))
    if "test" not in _account:
        _account["test"] = node.nodeid
        _account["finding"] = finding
        _account["says"] = call.excinfo.exconly(tryshort=True)


def pytest_sessionfinish() -> None:
    """Hand the account over; a run that cannot even begin leaves none."""
    if path := os.environ.get(ACCOUNT):
        Path(path).write_text(json.dumps(_account))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_nonsense(error: BaseException) -> bool:
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or ""
        return state.startswith(_NONSENSE) and state != _MISSING_RIGHT
    # An install sees every change of the SQL by its text.
    return isinstance(error, NameError | SyntaxError | ImportError | SchemaMismatch)

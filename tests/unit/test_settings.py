from __future__ import annotations

from pathlib import Path

import pytest

from jobengine.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings(None, Path(".jobengine"))


def test_variables_are_read() -> None:
    assert Settings.from_environment(
        {"DATABASE_URL": "postgresql:///x", "JOBENGINE_DATA_DIR": "/data"}
    ) == Settings("postgresql:///x", Path("/data"))


def test_an_empty_variable_is_none() -> None:
    empty = {"DATABASE_URL": "", "JOBENGINE_DATA_DIR": ""}
    assert Settings.from_environment(empty) == Settings.from_environment({})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///here")
    assert Settings.from_environment().database_url == "postgresql:///here"

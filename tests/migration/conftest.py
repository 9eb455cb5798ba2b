from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobengine import schema
from jobengine.embedded import EmbeddedPostgres


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the engine's SQL, which the library takes for its own until the test's end."""
    folder = tmp_path / "engine"
    shutil.copytree(schema.sql_folder(), folder)
    monkeypatch.setattr(schema, "sql_folder", lambda: folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own: roles belong to the whole server."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("server") / "pg", durable=False) as server:
        yield server

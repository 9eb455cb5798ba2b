from __future__ import annotations

import pytest

from jobengine import schema
from tools.sql_rules.reading import Engine, read


@pytest.fixture(scope="session")
def sql_files() -> Engine:
    """The engine's SQL files, read."""
    return read(schema.sql_folder())

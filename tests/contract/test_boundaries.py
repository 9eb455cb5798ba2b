"""The engine knows PostgreSQL and Python, nothing of the platform that it serves.

The agent is a distribution of its own, and meets the service over HTTP and nowhere else.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import forex_agent
import pytest

import jobengine
from jobengine import schema

PACKAGE = Path(jobengine.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SQL = sorted(schema.sql_folder().rglob("*.sql"))
DEPENDENCIES = {"jobengine", "orjson", "psycopg", "psycopg_pool"}
OPTIONAL = {"testing/settle.py": {"hypothesis"}}
AGENT = Path(forex_agent.__file__).parent
AGENT_MODULES = sorted(AGENT.rglob("*.py"))
AGENT_DEPENDENCIES = {"forex_agent", "aiohttp", "certifi", "psutil", "yarl"}
# Words of the platform, whole or as part of a name (`order` is SQL's, so it is not here).
DOMAIN = re.compile(
    r"trade|trading|broker|forex|metatrader|\bmt[45]\b|hedg|symbol|candle|\bprices?\b|expert.advisor"
    r"|webhook|websocket|redis|valkey|starlette|uvicorn|httpx|\bhttp\b|jwt|supabase|openapi",
    re.IGNORECASE,
)
# Where the names of the schema's functions and tables may be written in Python.
SQL_MODULES = {"calls.py", "schema.py", "_db.py", "clock.py"}
QUERY = re.compile(
    r"\b(select|insert|update|delete|from|call|perform|truncate)\b[^.]*\bjobengine\.", re.IGNORECASE
)


def path_id(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", MODULES, ids=path_id)
def test_a_module_imports_only_the_dependencies_of_the_library(path: Path) -> None:
    optional = OPTIONAL.get(path.relative_to(PACKAGE).as_posix(), set())
    assert set(imported(path)) <= DEPENDENCIES | optional | sys.stdlib_module_names


@pytest.mark.parametrize("path", AGENT_MODULES, ids=path_id)
def test_the_agent_imports_only_its_own_dependencies(path: Path) -> None:
    """Not even MetaTrader5, which is not there off Windows: its driver loads it when it is used."""
    assert set(imported(path)) <= AGENT_DEPENDENCIES | sys.stdlib_module_names


def test_what_the_agent_imports_is_what_its_distribution_requires() -> None:
    project = tomllib.loads((AGENT.parent / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[^A-Za-z0-9]", one)[0] for one in project["dependencies"]}
    used = {name for path in AGENT_MODULES for name in imported(path)}
    assert required - {"MetaTrader5"} == (used & AGENT_DEPENDENCIES) - {"forex_agent"}


@pytest.mark.parametrize("path", [*MODULES, *SQL], ids=path_id)
def test_no_word_of_the_platform(path: Path) -> None:
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if DOMAIN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name not in SQL_MODULES], ids=path_id
)
def test_the_schema_is_named_only_where_its_functions_are_called(path: Path) -> None:
    assert [text for text in strings(path) if QUERY.search(text)] == []


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if not node.level else "jobengine"


def strings(path: Path) -> Iterator[str]:
    """Yield every string that is not a docstring."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            yield str(node.value)

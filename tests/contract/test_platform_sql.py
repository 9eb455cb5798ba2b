"""The rules for sql/platform find what is planted, and nothing in what is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.sql_rules import platform
from tools.sql_rules.reading import read

SEEN = "functions/agent_seen.sql"
PAIR = "functions/agent_pair.sql"

# File, what is written there, what is planted in its place, the rules that find it.
PLANTS = {
    "no field": (SEEN, "-- Raises: nothing\n", "", ["header-form"]),
    "two sentences": (SEEN, "sign of life, any", "sign. Of life, any", ["header-form"]),
    "a note without a field": (SEEN, "-- Raises: nothing", "-- Or not", ["header-form"] * 2),
    "a write unsaid": (SEEN, "-- Writes: mt5_agents", "-- Writes: nothing", ["header-writes"]),
    "a write said": (SEEN, "-- Writes: mt5", "-- Writes: profiles, mt5", ["header-writes"]),
    "a call unsaid": (PAIR, "-- Calls: _user, ", "-- Calls: ", ["header-calls"]),
    "a call said": (PAIR, "-- Calls: _user", "-- Calls: jobengine.claim, _user", ["header-calls"]),
    "a refusal unsaid": (PAIR, "-- Raises: FX403, ", "-- Raises: ", ["header-raises"]),
    "a lock unsaid": (SEEN, "skipping those", "but not those", ["header-locks"]),
    "a clock": (SEEN, ":= public._now()", ":= now()", ["clock", "header-calls"]),
    "a star": (SEEN, "select w.id from", "select w.* from", ["select-star"]),
    "no search path": (SEEN, "set search_path = pg_catalog, pg_temp\n", "", ["search-path"]),
    "another name": (SEEN, "function public.agent_seen", "function public.seen", ["file-name"]),
    "another schema": (SEEN, "function public.", "function jobengine.", ["file-name"]),
    "a long line": ("grants.sql", "-- Tables:", "-- " + "x" * 120 + " Tables:", ["line-length"]),
    "a capital": ("job_types.sql", "select jobengine", "SELECT jobengine", ["lower-case"]),
}


def test_what_is_there_keeps_the_rules() -> None:
    assert list(platform.check(read(platform.FOLDER))) == []


@pytest.mark.parametrize("plant", PLANTS)
def test_a_rule_finds_what_is_planted(tmp_path: Path, plant: str) -> None:
    file, old, new, rules = PLANTS[plant]
    folder = tmp_path / "platform"
    shutil.copytree(platform.FOLDER, folder)
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert sorted(finding.rule for finding in platform.check(read(folder))) == rules

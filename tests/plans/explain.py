"""What a call really did: the plan of every statement inside it, with the rows that it read.

EXPLAIN shows only "Function Scan" for a function; auto_explain with nested statements sends the
plans of what is inside as notices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic
from psycopg.rows import DictRow, dict_row

from tests.races.sessions import Call

TABLES = {"job", "ready", "lease", "ended", "failure", "live_key"}

_SETTINGS: tuple[LiteralString, ...] = (
    "load 'auto_explain'",
    "set auto_explain.log_min_duration = 0",
    "set auto_explain.log_nested_statements = on",
    "set auto_explain.log_analyze = on",
    "set auto_explain.log_timing = off",
    "set auto_explain.log_buffers = on",
    "set auto_explain.log_format = json",
    "set auto_explain.log_level = notice",  # to the client, not to the log of the server
)

Node = dict[str, Any]


@dataclass(frozen=True)
class Scan:
    """One scan of one of the engine's tables, all its loops together."""

    kind: str
    table: str
    index: str | None
    rows: float  # read, whether they were wanted or not
    query: str

    @classmethod
    def of(cls, node: Node, query: str) -> Scan:
        """Read a node of a plan; `rows` are those of all its loops."""
        rows = node["Actual Rows"]
        rows += node.get("Rows Removed by Filter", 0)
        rows += node.get("Rows Removed by Index Recheck", 0)
        rows *= node["Actual Loops"]
        return cls(node["Node Type"], node["Relation Name"], node.get("Index Name"), rows, query)


@dataclass(frozen=True)
class Work:
    """What all statements of one call did to the engine's tables."""

    scans: list[Scan]
    buffers: int
    answers: list[DictRow]

    @property
    def rows(self) -> float:
        return sum(scan.rows for scan in self.scans)

    @property
    def whole_tables(self) -> list[Scan]:
        return [scan for scan in self.scans if "Seq" in scan.kind]

    @property
    def indexes(self) -> set[str]:
        return {scan.index for scan in self.scans if scan.index}


class Explainer:
    """A superuser's session that tells what its calls did."""

    def __init__(self, conn: psycopg.Connection[DictRow], plan_cache_mode: str) -> None:
        self.conn = conn
        self._plans: list[Node] = []
        for setting in _SETTINGS:
            conn.execute(setting)
        conn.execute("select set_config('plan_cache_mode', %s, false)", (plan_cache_mode,))
        conn.add_notice_handler(self._collect)

    def work(self, call: Call) -> Work:
        """Make a call, take it back, and return what it did."""
        with self.conn.transaction(force_rollback=True):
            self._plans.clear()
            answers = self.conn.execute(call.query, call.params).fetchall()
            plans = list(self._plans)
        scans = [
            Scan.of(node, plan["Query Text"])
            for plan in plans
            for node in _nodes(plan["Plan"])
            if node.get("Relation Name") in TABLES
            and node["Node Type"] != "ModifyTable"
            and node["Actual Loops"]
        ]
        buffers = max(
            plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            for plan in plans  # the outermost has them all
        )
        return Work(scans, buffers, answers)

    def _collect(self, notice: Diagnostic) -> None:
        _, _, plan = (notice.message_primary or "").partition("plan:\n")
        if plan:
            self._plans.append(json.loads(plan))


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


@contextmanager
def explaining(admin_url: str, database_url: str, plan_cache_mode: str) -> Iterator[Explainer]:
    database = conninfo_to_dict(database_url)["dbname"]
    url = make_conninfo(admin_url, dbname=str(database))
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as conn:
        if not conn.execute("select 1 where current_setting('is_superuser') = 'on'").fetchone():
            pytest.skip("only a superuser may load auto_explain")
        yield Explainer(conn, plan_cache_mode)

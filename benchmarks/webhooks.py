"""How long TradingView waits for its answer, PostgreSQL up, down, and back."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from api import tokens
from api.commands import migrate
from api.embedded import EmbeddedValkey
from benchmarks.progress import say
from benchmarks.report import Column, Result, Sample
from benchmarks.scenario import Lab, Scenario
from benchmarks.server import SETTINGS
from benchmarks.service import SECRET, service
from jobengine.embedded import EmbeddedPostgres

QUESTION = (
    "Alerts over 8 connections to one service process, PostgreSQL and Valkey durable (every "
    "accepted alert is on disk before its answer). A latency counts from when the alert was due."
)
COLUMNS = (
    Column("per_second", "alerts/s"),
    Column("p50", "p50 ms", digits=1),
    Column("p95", "p95 ms", digits=1),
    Column("p99", "p99 ms", digits=1),
    Column("max", "max ms", digits=1),
    Column("spooled", "spooled"),
)
CONNECTIONS = 8
RATE = 100
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class World:
    """A service of its own on servers of its own, with two strategies.

    The orders of `filled` go to the agent, those of `path` wait for one.
    """

    postgres: EmbeddedPostgres
    address: str
    filled: str
    path: str
    token: str
    agent: str
    key: str

    @property
    def unknown(self) -> str:
        """The path of nobody's strategy."""
        return f"{self.path.rpartition('/')[0]}/{secrets.token_urlsafe(32)}"

    def spooled(self) -> int:
        """How many alerts were spooled so far."""
        return self._count("spooled")

    def drained(self) -> int:
        return self._count("drained")

    def _count(self, outcome: str) -> int:
        text = httpx.get(f"{self.address}/metrics", timeout=PATIENCE).text
        found = re.search(rf'api_alerts_total{{outcome="{outcome}"}} (\d+)', text)
        return int(found[1]) if found else 0

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(f"{self.address}{path}", headers=headers, timeout=PATIENCE).json()


@contextmanager
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="webhooks-bench-") as folder:
        Path(folder).chmod(0o711)
        with (
            EmbeddedPostgres(Path(folder) / "postgres", settings=SETTINGS) as postgres,
            EmbeddedValkey(Path(folder) / "valkey", durable=True) as valkey,
        ):
            asyncio.run(migrate(postgres.url))
            limits = {"WEBHOOK_PER_MINUTE": "0"}
            with service(postgres.url, valkey.url, **limits) as (_, address):
                yield _made(postgres, address)


def _made(postgres: EmbeddedPostgres, address: str) -> World:
    with psycopg.connect(postgres.url) as conn:
        conn.execute("set local role service_role")
        row = conn.execute("select public.user_add('bench@example.org')").fetchone()
    assert row
    token = tokens.issue(SECRET, row[0], "bench@example.org", 24 * 3600)
    with httpx.Client(base_url=f"{address}/api/v1", timeout=PATIENCE) as http:
        http.headers["Authorization"] = f"Bearer {token}"
        http.post("/onboarding/complete")
        accounts = [_account(http), _account(http)]
        agent = {"name": "vps", "broker_connection_id": accounts[0]}
        paired = http.post("/agents/pair", json=agent).json()
        filled, loaded = (_strategy(http, account) for account in accounts)
    return World(
        postgres=postgres,
        address=address,
        filled=filled,
        path=loaded,
        token=token,
        agent=f"{address}/api/v1/agents/{paired['agent_id']}",
        key=paired["agent_key"],
    )


def _account(http: httpx.Client) -> str:
    found: str = http.post("/broker-connections", json={"name": "demo"}).json()["id"]
    return found


def _strategy(http: httpx.Client, account: str) -> str:
    values = {"name": "s", "expires_in": 0, "broker_connection_id": account}
    url: str = http.post("/strategies", json=values).json()["webhook_url"]
    return urlsplit(url).path


# The load


class Line:
    """One connection that is kept open."""

    def __init__(self, address: str) -> None:
        self._parts = urlsplit(address)

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._parts.hostname, self._parts.port
        )

    def close(self) -> None:
        self._writer.close()

    async def post(self, path: str, body: bytes) -> None:
        """Post once more where the service has closed a connection that nobody used for long."""
        try:
            await self._post(path, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            await self.open()
            await self._post(path, body)

    async def _post(self, path: str, body: bytes) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert await self._reader.readexactly(2) == b"ok"


_numbers = itertools.count()


def _body() -> bytes:
    alert = {"symbol": "EURUSD", "action": "buy", "volume": 0.1, "id": next(_numbers)}
    return json.dumps(alert).encode()


async def _load(address: str, path: str, count: int, rate: float | None) -> tuple[float, ...]:
    """Send so many alerts, at a rate or as fast as they are answered; return the milliseconds."""
    lines = [Line(address) for _ in range(CONNECTIONS)]
    for line in lines:
        await line.open()
    began = time.perf_counter()
    due = iter([began + n / rate for n in range(count)] if rate else [None] * count)
    found: list[float] = []

    async def work(line: Line) -> None:
        for at in due:
            start = at or time.perf_counter()
            await asyncio.sleep(max(0.0, start - time.perf_counter()))
            await line.post(path, _body())
            found.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(work(line) for line in lines))
    for line in lines:
        line.close()
    return (count / (time.perf_counter() - began), *found)


def load(target: World, path: str, count: int, rate: float | None = None) -> Sample:
    """Return what the table shows of a load."""
    before = target.spooled()
    per_second, *found = asyncio.run(_load(target.address, path, count, rate))
    return {**_figures(per_second, found), "spooled": target.spooled() - before}


def _figures(per_second: float, milliseconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {
        "per_second": per_second,
        "p50": cuts[49],
        "p95": cuts[94],
        "p99": cuts[98],
        "max": max(milliseconds),
    }


def filled(target: World, count: int) -> Sample:
    """Alerts one by one, each filled at once by an agent: from the alert to its fill."""
    headers = {"X-Agent-Key": target.key}
    began = time.perf_counter()

    async def both() -> None:
        line = Line(target.address)
        await line.open()
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE) as http:
            for _ in range(count):
                asked = asyncio.create_task(_fill(http, target.agent))
                await asyncio.sleep(0.02)  # the poll waits when the alert comes
                await line.post(target.filled, _body())
                await asked
        line.close()

    asyncio.run(both())
    seconds = time.perf_counter() - began
    signals = target.get(f"/api/v1/signals?limit={count}&status=executed")
    found = _figures(count / seconds, [signal["total_ms"] for signal in signals])
    return {**found, "spooled": None}


async def _fill(http: httpx.AsyncClient, agent: str) -> None:
    job: dict[str, Any] = {}
    while "job_id" not in job:
        job = (await http.get(f"{agent}/jobs/next", params={"wait": 25})).json()
    fill = {"fill_price": 1.1, "ticket": job["job_id"], "symbol": "EURUSD", "volume": 0.1}
    report = {"status": "completed", "output_data": fill}
    await http.post(f"{agent}/jobs/{job['job_id']}/result", json=report)


# The scenario


def run(lab: Lab) -> Result:
    """Measure every case once per run; the servers are this scenario's own, as they are killed."""
    seconds = 1 if lab.quick else 20
    samples: dict[str, list[Sample]] = {}
    notes: list[str] = []
    with world() as target:
        load(target, target.path, 50)
        for number in range(1, lab.runs + 1):
            for name, measure in _cases(target, seconds, notes):
                sample = measure()
                samples.setdefault(name, []).append(sample)
                say(f"webhooks {number}/{lab.runs}: {name}: p99 {sample['p99']:.1f} ms")
    return Result("webhooks", QUESTION, COLUMNS, samples, notes=notes)


def _cases(
    target: World, seconds: int, notes: list[str]
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    count = RATE * seconds
    yield "alert to fill, one by one", lambda: filled(target, min(count, 100))
    yield f"{RATE}/s", lambda: load(target, target.path, count, RATE)
    yield f"{RATE}/s, secret of nobody's", lambda: load(target, target.unknown, count, RATE)
    yield "as fast as they are answered", lambda: load(target, target.path, 2 * count)
    target.postgres.kill()
    waiting = target.drained()
    before = target.spooled()
    yield f"{RATE}/s, PostgreSQL down", lambda: load(target, target.path, count, RATE)
    yield "as fast …, PostgreSQL down", lambda: load(target, target.path, 2 * count)
    target.postgres.restart("immediate")
    yield f"{RATE}/s, PostgreSQL just back", lambda: load(target, target.path, count, RATE)
    began = time.perf_counter()
    while target.drained() - waiting < target.spooled() - before:
        time.sleep(0.05)
    drained = target.drained() - waiting
    notes.append(
        f"{drained:,} alerts waited; the last was in the database "
        f"{time.perf_counter() - began:.1f} s after the load with PostgreSQL back had ended"
    )


SCENARIO = Scenario("webhooks", QUESTION, run)

"""How long a price takes from an agent's push to a thousand clients, and who can hold it up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import httpx
import psutil
import psycopg
import redis

from api import tokens
from api.commands import migrate
from api.embedded import EmbeddedValkey
from benchmarks.database import database
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab, Scenario
from benchmarks.service import SECRET, process, service

QUESTION = (
    "An agent pushes ticks of one instrument over HTTP; how long until every WebSocket client has "
    "them? Ours: one `python -m api serve`, which takes the pushes too. Naive: one process that "
    "does `for ws in watchers: await ws.send_text(…)`, in the same uvicorn. Queue: the same with a "
    "queue and a task per client. Stalled clients watch another instrument as well, of which more "
    "came than their connections take, and read nothing."
)
COLUMNS = (
    Column("p50_ms", "p50 ms", digits=1),
    Column("p99_ms", "p99 ms", digits=1),
    Column("received_percent", "received %", digits=1),
    Column("gap_seconds", "longest gap s", digits=2),
    Column("deliveries_per_second", "deliveries/s"),
    Column("cpu_us", "server CPU µs/delivery", digits=1),
    Column("kib_per_client", "KiB/client", digits=1),
)
AIM_MS = 20.0  # p99 of 50,000 deliveries a second, with clients among them who do not read
OURS, NAIVE, QUEUE = "ours", "naive", "queue"
SANSIO, LEGACY = "websockets-sansio", "websockets"  # uvicorn's names
PAIR, OTHER = "EURUSD", "STUFF"
_SECONDS = 2.5
_SETTLE_SECONDS = 0.5  # what is on its way arrives
_STUFFING = 150  # batches of prices for those who stall, some milliseconds apart
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Case:
    """So many clients and ticks, on one of the servers."""

    server: str
    clients: int  # those who stall are among them
    rate: int
    stalled: int = 0
    websockets: str = SANSIO  # of the others; ours is built on it

    @property
    def name(self) -> str:
        """Return its line in the table."""
        stalled = f", {self.stalled} stalled" if self.stalled else ""
        other = "" if self.websockets == SANSIO else f" ({self.websockets})"
        return f"{self.server}{other}, {self.clients:,} clients, {self.rate} ticks/s{stalled}"

    def on(self, server: str, websockets: str = SANSIO) -> Case:
        """Return the same on another server."""
        return Case(server, self.clients, self.rate, self.stalled, websockets)


MANY = Case(OURS, clients=1000, rate=10)
BUSY = Case(OURS, clients=500, rate=100)
FASTER = Case(OURS, clients=500, rate=150)
STALLED = Case(OURS, clients=500, rate=100, stalled=50)
CASES = [
    *(MANY, MANY.on(NAIVE)),
    *(BUSY, BUSY.on(QUEUE), FASTER, BUSY.on(NAIVE), BUSY.on(QUEUE, LEGACY)),
    *(STALLED, STALLED.on(QUEUE), STALLED.on(NAIVE)),
]


@dataclass(frozen=True, slots=True)
class World:
    """What all cases share: the servers, a user and his agent."""

    database_url: str
    redis_url: str
    token: str
    agent_id: UUID
    key: str


def settle(database_url: str, redis_url: str) -> World:
    """Add a user and pair an agent."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set local role service_role")
        row = conn.execute("select public.user_add('a@example.org')").fetchone()
    assert row
    token = tokens.issue(SECRET, row[0], "a@example.org", 3600)
    headers = {"Authorization": f"Bearer {token}"}
    with (
        service(database_url, redis_url) as (_, address),
        httpx.Client(base_url=f"{address}/api/v1", headers=headers) as http,
    ):
        http.post("/onboarding/complete").raise_for_status()
        paired = http.post("/agents/pair", json={"name": "bench"}).raise_for_status().json()
    return World(database_url, redis_url, token, UUID(paired["agent_id"]), paired["agent_key"])


class Crowd:
    """The clients, in a process of their own."""

    def __init__(self, address: str, token: str, case: Case) -> None:
        url = address.replace("http", "ws", 1) + "/ws/prices/{}?token=" + token
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.stream_clients"),
                *(url.format(PAIR), str(case.clients - case.stalled)),
                *(url.format(OTHER), str(case.stalled), PAIR),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the clients did not connect")

    def heard(self) -> list[list[tuple[int, float]]]:
        """Return what each client heard, numbers and times; the clients leave."""
        found, _ = self._process.communicate()
        heard: list[list[tuple[int, float]]] = json.loads(found)
        return heard


def run(lab: Lab) -> Result:
    """Measure every case once per run, in turn."""
    samples: dict[str, list[Sample]] = {case.name: [] for case in CASES}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobengine-bench-"))
        Path(folder).chmod(0o755)
        valkey = stack.enter_context(EmbeddedValkey(Path(folder)))
        target = stack.enter_context(database(lab.server))
        asyncio.run(migrate(target.url))
        world = settle(target.url, valkey.url)
        for number in range(1, lab.runs + 1):
            for case in CASES:
                samples[case.name].append(measure(world, case, 1.0 if lab.quick else _SECONDS))
                say(f"stream {number}/{lab.runs}: {case.name}")
    return Result("stream", QUESTION, COLUMNS, samples, _ratios(samples))


def measure(world: World, case: Case, seconds: float) -> Sample:
    """Start the case's server, let clients come, push, and ask what they heard."""
    with ExitStack() as stack:
        pid, address = stack.enter_context(service(world.database_url, world.redis_url))
        http = stack.enter_context(httpx.Client(base_url=address))
        server = psutil.Process(pid)
        if case.server != OURS:
            pattern = f"prices:{world.agent_id}:*"
            command = ("-m", "benchmarks.stream_naive", case.server, case.websockets)
            pid, address = stack.enter_context(process(*command, world.redis_url, pattern))
            server = psutil.Process(pid)
        memory = server.memory_info().rss
        crowd = Crowd(address, world.token, case)
        memory = server.memory_info().rss - memory
        if case.stalled:
            stuff(world)
        cpu = sum(server.cpu_times()[:2])
        pushed = push(world, http, case.rate, seconds)
        time.sleep(_SETTLE_SECONDS)
        cpu = sum(server.cpu_times()[:2]) - cpu
        return figures(pushed, crowd.heard(), cpu, memory)


def stuff(world: World) -> None:
    """Publish so much that nobody takes who does not read."""
    key = f"prices:{world.agent_id}:{OTHER}"
    message = json.dumps({"bid": 1, "ask": 2, "ts": time.time_ns() // 1_000_000})
    with redis.Redis.from_url(world.redis_url) as store:
        for _ in range(_STUFFING):
            with store.pipeline(transaction=False) as pipeline:
                for _ in range(_BATCH):
                    pipeline.publish(key, message)
                pipeline.execute()
            time.sleep(0.005)


def push(world: World, http: httpx.Client, rate: int, seconds: float) -> list[float]:
    """Push ticks as an agent does; return when each push began."""
    path, headers = f"/api/v1/agents/{world.agent_id}/prices", {"X-Agent-Key": world.key}
    began, pushed = time.monotonic(), []
    for number in range(1, int(rate * seconds) + 1):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        pushed.append(time.monotonic())
        prices = {PAIR: {"bid": len(pushed), "ask": len(pushed)}}
        http.post(path, json=prices, headers=headers).raise_for_status()
    return pushed


def figures(
    pushed: Sequence[float], heard: Sequence[Sequence[tuple[int, float]]], cpu: float, memory: int
) -> Sample:
    """Return what the table shows; a tick that did not come has no latency."""
    since = pushed[0]
    arrived = [[(n, at) for n, at in client if _pushed(n, at, pushed)] for client in heard]
    latencies = [at - pushed[n - 1] for client in arrived for n, at in client]
    times = [[since, *(at for _, at in client), pushed[-1]] for client in arrived]
    gap = max(b - a for client in times for a, b in pairwise(client))
    parts = quantiles([1e3 * s for s in latencies], n=100) if latencies else None
    return {
        "p50_ms": parts[49] if parts else None,
        "p99_ms": parts[98] if parts else None,
        "received_percent": 100 * len(latencies) / (len(pushed) * len(heard)),
        "gap_seconds": gap,
        "deliveries_per_second": len(latencies) / (pushed[-1] - since),
        "cpu_us": cpu / len(latencies) * 1e6 if latencies else None,
        "kib_per_client": memory / len(heard) / 1024,
    }


def _pushed(number: int, at: float, pushed: Sequence[float]) -> bool:
    """Tell whether this was pushed now; an earlier case's last price is told as well."""
    return number <= len(pushed) and at >= pushed[number - 1]


def _ratios(samples: dict[str, list[Sample]]) -> list[Ratio]:
    def values(case: Case, key: str) -> list[float]:
        return [float(s[key] or 0) for s in samples[case.name]]

    p99 = values(STALLED, "p99_ms")
    equal = zip(values(BUSY.on(QUEUE), "p99_ms"), values(FASTER, "p99_ms"), strict=True)
    ratios = [
        Ratio(f"{AIM_MS:g} ms / p99 of {STALLED.name}", [AIM_MS / ms for ms in p99], 1.0),
        Ratio(f"p99 of {BUSY.on(QUEUE).name} / {FASTER.name}", [a / b for a, b in equal], 1.0),
    ]
    for case in (BUSY.on(QUEUE), BUSY.on(NAIVE), BUSY.on(QUEUE, LEGACY)):
        pairs = zip(values(case, "cpu_us"), values(BUSY, "cpu_us"), strict=True)
        name = f"{case.name} / ours, server CPU per delivery"
        ratios.append(Ratio(name, [a / b for a, b in pairs]))
    return ratios


SCENARIO = Scenario("stream", QUESTION, run)

"""What ten thousand agents cost that wait for jobs, and how soon a job is with one of them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import re
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg

from api.commands import migrate
from api.embedded import EmbeddedValkey
from benchmarks.cpu import tree_cpu
from benchmarks.database import Database, database
from benchmarks.longpoll_agents import allow_files
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab, Scenario
from benchmarks.service import process, service

QUESTION = (
    "Agents ask one `python -m api serve` for jobs (`jobs/next?wait=25`) and mostly wait: what "
    "does that cost the service and the server, and how long after the beginning of its enqueue is "
    "a job with its agent? Bare: an application in the same uvicorn that asks nobody who he is, "
    "waits as long and answers."
)
COLUMNS = (
    Column("agents", "agents"),
    Column("polls_per_second", "polls/s"),
    Column("cpu_percent", "service CPU, % of a core", digits=1),
    Column("cpu_us", "service CPU µs/poll"),
    Column("server_percent", "server CPU, % of a core", digits=1),
    Column("kib", "KiB/agent", digits=1),
    Column("p50_ms", "delivery p50 ms", digits=1),
    Column("p99_ms", "delivery p99 ms", digits=1),
)
AIM_PERCENT, AIM_KIB, AIM_MS = 3.0, 40.0, 50.0
OURS, BARE = "ours", "bare"
USERS = 500
_TAKEN_WITHIN = 60.0
_SETTLE_SECONDS = 1.0  # what is on its way arrives
_SPARE_FILES = 500  # of the service and of the agents, besides their connections


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; a window is whole polls long."""

    agents: int
    wait: float
    window: float
    jobs: int
    per_second: float


FULL = Size(10_000, 25.0, 25.0, 200, 20)
QUICK = Size(200, 2.0, 2.0, 20, 20)


@dataclass(frozen=True, slots=True)
class Known:
    """An agent that is in the database."""

    agent_id: UUID
    user_id: UUID
    key: str


def run(lab: Lab) -> Result:
    """Measure both once per run, in turn."""
    size = allowed(QUICK if lab.quick else FULL)
    samples: dict[str, list[Sample]] = {OURS: [], BARE: []}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobengine-bench-"))
        Path(folder).chmod(0o755)
        valkey = stack.enter_context(EmbeddedValkey(Path(folder)))
        target = stack.enter_context(database(lab.server))
        asyncio.run(migrate(target.url))
        agents = settle(target, size.agents)
        for number in range(1, lab.runs + 1):
            samples[OURS].append(ours(target, valkey.url, size, agents))
            say(f"longpoll {number}/{lab.runs}: {OURS}")
            samples[BARE].append(bare(size, agents))
            say(f"longpoll {number}/{lab.runs}: {BARE}")
    return Result("longpoll", QUESTION, COLUMNS, samples, _ratios(samples[OURS]))


def allowed(size: Size) -> Size:
    """Return as many agents as may have an open file here; the service inherits the limit."""
    allow_files(size.agents + _SPARE_FILES)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    return Size(min(size.agents, most), size.wait, size.window, size.jobs, size.per_second)


def settle(target: Database, count: int) -> Sequence[Known]:
    """Add users, and their agents with keys."""
    with psycopg.connect(target.admin_url) as conn:
        users = conn.execute(
            "select public.user_add(n || '@example.org') from generate_series(1, %s) n", [USERS]
        ).fetchall()
        agents = [
            Known(uuid4(), user_id, f"fxa_{secrets.token_urlsafe(32)}")
            for (user_id,) in itertools.islice(itertools.cycle(users), count)
        ]
        with conn.cursor() as cursor:
            cursor.executemany(
                "insert into public.mt5_agents (id, user_id, name, pairing_key_hash,"
                " pairing_key_prefix, pairing_key_digest) values (%s, %s, 'bench', %s, %s, %s)",
                [
                    (
                        a.agent_id,
                        a.user_id,
                        _HASH,
                        a.key[4:12],
                        hashlib.sha256(a.key.encode()).digest(),
                    )
                    for a in agents
                ],
            )
    return agents


_HASH = "$2b$04$" + "x" * 53  # never asked: the digest answers


class Crowd:
    """The agents, in a process of their own."""

    def __init__(self, address: str, size: Size, agents: Sequence[Known]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.longpoll_agents", str(size.wait)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        who = [(str(agent.agent_id), agent.key) for agent in agents]
        self._process.stdin.write(f"{address}\n{json.dumps(who)}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the agents did not connect")

    def heard(self) -> dict[str, Any]:
        """Return what came; the agents leave."""
        told, _ = self._process.communicate()
        heard: dict[str, Any] = json.loads(told)
        if heard["others"]:
            raise RuntimeError(f"answers that are none: {heard['others'][0]}")
        return heard


def ours(target: Database, redis_url: str, size: Size, agents: Sequence[Known]) -> Sample:
    """Let them wait, then give some of them jobs."""
    with ExitStack() as stack:
        pid, address = stack.enter_context(service(target.url, redis_url))
        http = stack.enter_context(httpx.Client(base_url=address))
        memory = rss(pid)
        crowd = Crowd(address, size, agents)
        time.sleep(size.wait)  # everybody has been answered once
        idle = spent(http, pid, target.server.pid, size)
        memory = rss(pid) - memory
        put_in = deliver(target, random.sample(list(agents), size.jobs), size.per_second)
        delays = arrivals(put_in, dict(crowd.heard()["jobs"]))
    return {**idle, "kib": memory / 1024 / size.agents, **delays}


def bare(size: Size, agents: Sequence[Known]) -> Sample:
    """Let them wait with the yardstick, which counts nothing."""
    with process("-m", "benchmarks.longpoll_bare", str(size.wait)) as (pid, address):
        memory = rss(pid)
        crowd = Crowd(address, size, agents)
        memory = rss(pid) - memory
        began, cpu = time.monotonic(), tree_cpu(pid) or 0.0
        time.sleep(size.wait)
        cpu = (tree_cpu(pid) or 0.0) - cpu
        seconds = time.monotonic() - began
        polls = crowd.heard()["empty"]
    return {
        **dict.fromkeys(column.key for column in COLUMNS),
        "agents": size.agents,
        "kib": memory / 1024 / size.agents,
        "polls_per_second": polls / seconds,
        "cpu_percent": 100 * cpu / seconds,
        "cpu_us": 1e6 * cpu / polls if polls else None,
    }


def rss(pid: int) -> int:
    """Return the memory of a process, in bytes."""
    resident: int = psutil.Process(pid).memory_info().rss
    return resident


def spent(http: httpx.Client, pid: int, server_pid: int | None, size: Size) -> Sample:
    """Return what a window costs in which nothing happens."""
    polls, began = answered(http), time.monotonic()
    cpu, server = tree_cpu(pid) or 0.0, tree_cpu(server_pid)
    time.sleep(size.window)
    while answered(http) == polls:
        time.sleep(0.1)
    seconds = time.monotonic() - began
    cpu, after = (tree_cpu(pid) or 0.0) - cpu, tree_cpu(server_pid)
    polls = answered(http) - polls
    return {
        "agents": size.agents,
        "polls_per_second": polls / seconds,
        "cpu_percent": 100 * cpu / seconds,
        "cpu_us": 1e6 * cpu / polls if polls else None,
        "server_percent": None
        if server is None or after is None
        else 100 * (after - server) / seconds,
    }


def answered(http: httpx.Client) -> int:
    """Return how many polls the service has answered."""
    found = re.search(r'route="[^"]*/jobs/next",status="200"} (\d+)', http.get("/metrics").text)
    return int(found[1]) if found else 0


def deliver(target: Database, agents: Sequence[Known], rate: float) -> dict[str, float]:
    """Put in a job for each, one after the other; return when each was begun."""
    began, put_in = time.monotonic(), {}
    with psycopg.connect(target.url, autocommit=True) as conn:
        for number, agent in enumerate(agents):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            at = time.monotonic()
            row = conn.execute(
                "select job_id from jobengine.enqueue(array['get_account'], array['{}'::jsonb],"
                " p_queues => array[%s], p_tenant_ids => array[%s::uuid])",
                [f"agent/{agent.agent_id}", agent.user_id],
            ).fetchone()
            assert row
            put_in[str(row[0])] = at
        _until_taken(conn)
    time.sleep(_SETTLE_SECONDS)
    return put_in


def _until_taken(conn: psycopg.Connection[Any]) -> None:
    """Return when all jobs have been claimed."""
    deadline = time.monotonic() + _TAKEN_WITHIN
    while conn.execute("select 1 from jobengine.ready limit 1").fetchone():
        if time.monotonic() > deadline:
            raise TimeoutError("jobs are left")
        time.sleep(0.01)


def arrivals(put_in: Mapping[str, float], came: Mapping[str, float]) -> Sample:
    """Return the delays; every job must have come."""
    if missing := put_in.keys() - came.keys():
        raise AssertionError(f"{len(missing)} of {len(put_in)} jobs did not come")
    parts = quantiles([1e3 * (came[job] - at) for job, at in put_in.items()], n=100)
    return {"p50_ms": parts[49], "p99_ms": parts[98]}


def _ratios(samples: Sequence[Sample]) -> list[Ratio]:
    return [
        Ratio(f"{aim:g} {unit} / ours", [aim / (float(s[key] or 0) or 1e-9) for s in samples], 1.0)
        for aim, unit, key in (
            (AIM_PERCENT, "% of a core", "cpu_percent"),
            (AIM_KIB, "KiB/agent", "kib"),
            (AIM_MS, "ms p99", "p99_ms"),
        )
    ]


SCENARIO = Scenario("longpoll", QUESTION, run)

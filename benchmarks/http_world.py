"""What the HTTP benchmarks measure: the service with agents and their jobs, and its yardstick."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import httpx
import orjson
import psycopg

from api import tokens
from api.commands import migrate
from api.embedded import EmbeddedValkey
from benchmarks.cpu import tree_cpu
from benchmarks.database import Database, database
from benchmarks.http_load import Load, Script, load, request
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Sample
from benchmarks.rounds import Against
from benchmarks.scenario import Lab
from benchmarks.service import SECRET, process, service

CONNECTIONS = 32
FLOOR = "SELECT 1"
COLUMNS = (
    Column("per_second", "requests/s"),
    Column("p50_ms", "p50 ms", digits=1),
    Column("p99_ms", "p99 ms", digits=1),
    Column("service_us", "service CPU µs/request"),
    Column("server_us", "server CPU µs/request"),
)
_MOST = 12_000  # requests a second, for which jobs are there
_AT_ONCE = 320 * CONNECTIONS
_TABLES = "job, ready, lease, ended, failure, live_key, waiting"


@dataclass(frozen=True, slots=True)
class AgentLine:
    """What an agent's requests begin with."""

    path: str
    headers: str

    def claim(self, *, ack: bool) -> bytes:
        return request("GET", f"{self.path}/jobs/next?wait=20&ack={int(ack)}", self.headers)

    def start(self, job: Mapping[str, object]) -> bytes:
        return self._post(job, "start", {})

    def result(self, job: Mapping[str, object]) -> bytes:
        said = {"status": "completed", "output_data": {"positions": []}}
        return self._post(job, "result", said)

    def _post(self, job: Mapping[str, object], what: str, said: Mapping[str, object]) -> bytes:
        body = orjson.dumps({**said, "lease_epoch": job["lease_epoch"]})
        return request("POST", f"{self.path}/jobs/{job['job_id']}/{what}", self.headers, body)


@dataclass(frozen=True, slots=True)
class World:
    """A service that runs, agents, and a process that answers the yardstick; pids beside."""

    database: Database
    address: str
    pid: int
    floor: str
    floor_pid: int
    user_id: UUID
    token: str
    agents: Sequence[UUID]
    lines: Sequence[AgentLine]

    def prepare(self, jobs: int) -> None:
        """Leave exactly so many jobs, the same number for each agent, and no garbage."""
        with psycopg.connect(self.database.admin_url, autocommit=True) as admin:
            tables = ", ".join(f"jobengine.{table}" for table in _TABLES.split(", "))
            admin.execute(f"truncate {tables} cascade".encode())  # signals name jobs
            for begin in range(0, jobs, _AT_ONCE):
                self._enqueue(admin, min(_AT_ONCE, jobs - begin))
            admin.execute("vacuum (analyze)")
            admin.execute("checkpoint")

    def _enqueue(self, admin: psycopg.Connection[object], count: int) -> None:
        admin.execute(
            """select count(*) from jobengine.enqueue(
                array_fill('get_positions'::text, array[%(count)s::int]),
                p_queues => array(
                    select (%(queues)s::text[])[1 + g %% %(agents)s::int]
                    from generate_series(1, %(count)s::int) g),
                p_tenant_ids => array_fill(%(tenant)s::uuid, array[%(count)s::int]),
                p_lease_seconds => array_fill(600::float8, array[%(count)s::int]))""",
            {
                "count": count,
                "agents": len(self.agents),
                "queues": [f"agent/{agent_id}" for agent_id in self.agents],
                "tenant": self.user_id,
            },
        )

    def jobs(self, seconds: float) -> int:
        """Return how many jobs are enough for that time, the same number for each agent."""
        return CONNECTIONS * max(10, int(_MOST * seconds / CONNECTIONS))

    def claimed(self, jobs: int) -> list[list[Mapping[str, object]]]:
        """Prepare so many jobs and claim them all; return them by agent."""
        self.prepare(jobs)
        found: list[list[Mapping[str, object]]] = [[] for _ in self.lines]
        scripts = [
            _claims(line, into, jobs // len(self.lines))
            for line, into in zip(self.lines, found, strict=True)
        ]
        load(self.address, scripts)
        return found

    def measure(self, scripts: Sequence[Script], seconds: float) -> Sample:
        """Have the service answer the scripts so long."""
        return self._sample(self.address, self.pid, scripts, seconds)

    def measure_floor(self, seconds: float) -> Sample:
        """Have the yardstick answer so long."""
        return self._sample(self.floor, self.floor_pid, _repeated(request("GET", "/")), seconds)

    def _sample(self, address: str, pid: int, scripts: Sequence[Script], seconds: float) -> Sample:
        pids = (pid, self.database.server.pid)
        before = [tree_cpu(pid) for pid in pids]
        found = load(address, scripts, seconds)
        after = [tree_cpu(pid) for pid in pids]
        used = [
            None if a is None or b is None else a - b for a, b in zip(after, before, strict=True)
        ]
        return _figures(found, used)


def claim_and(line: AgentLine, *steps: str, ack: bool) -> Script:
    """Claim a job and do these steps with it, again and again."""
    while True:
        job = orjson.loads((yield line.claim(ack=ack)))
        for step in steps:
            yield getattr(line, step)(job)


def reports(line: AgentLine, jobs: Sequence[Mapping[str, object]]) -> Script:
    """Report these jobs."""
    for job in jobs:
        yield line.result(job)


def _claims(line: AgentLine, into: list[Mapping[str, object]], count: int) -> Script:
    while len(into) < count:
        into.append(orjson.loads((yield line.claim(ack=True))))


def _repeated(message: bytes) -> list[Script]:
    def again() -> Script:
        while True:
            yield message

    return [again() for _ in range(CONNECTIONS)]


def rounds(
    lab: Lab, name: str, cases: Mapping[str, Callable[[World, float], Sample]]
) -> dict[str, list[Sample]]:
    """Measure the yardstick and each case once per run, in turn, after a first go unmeasured."""
    seconds = lab.seconds(full=3.0, daily=1.0, quick=0.3)
    samples: dict[str, list[Sample]] = {case: [] for case in cases}
    with world(lab) as running:
        for measured in cases.values():
            measured(running, min(seconds, 1.0))
        for number in range(1, lab.runs + 1):
            for case, measured in cases.items():
                samples[case].append(measured(running, seconds))
                say(f"{name} {number}/{lab.runs}: {case}")
    return samples


def ratio(
    samples: Mapping[str, Sequence[Sample]],
    case: str,
    *,
    aim: float | None = None,
    floor: float | None = None,
) -> Ratio:
    """Return the rate of the case against the yardstick's of the same run."""
    against = Against(case, FLOOR, "per_second", floor=floor, aim=aim)
    return against.ratio(samples)


def _figures(found: Load, used: Sequence[float | None]) -> Sample:
    parts = quantiles(found.took, n=100)
    service, server = (None if cpu is None else 1e6 * cpu / len(found.took) for cpu in used)
    return {
        "per_second": found.rate,
        "p50_ms": 1e3 * parts[49],
        "p99_ms": 1e3 * parts[98],
        "service_us": service,
        "server_us": server,
    }


@contextmanager
def world(lab: Lab) -> Iterator[World]:
    """Run all of it as long as the block lasts."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobengine-bench-"))
        Path(name).chmod(0o755)
        valkey = stack.enter_context(EmbeddedValkey(Path(name)))
        target = stack.enter_context(database(lab.server))
        asyncio.run(migrate(target.url))
        user_id, token = _user(target.url)
        pid, address = stack.enter_context(service(target.url, valkey.url))
        floor_pid, floor = stack.enter_context(
            process(
                *("-m", "benchmarks.http_floor"),
                DATABASE_URL=target.url,
                REDIS_URL=valkey.url,
                SUPABASE_JWT_SECRET=SECRET,
                PORT="0",
            )
        )
        agents = _paired(address, token)
        lines = [AgentLine(f"/api/v1/agents/{a}", f"X-Agent-Key: {key}\r\n") for a, key in agents]
        ids = [agent_id for agent_id, _ in agents]
        yield World(target, address, pid, floor, floor_pid, user_id, token, ids, lines)


def _user(url: str) -> tuple[UUID, str]:
    with psycopg.connect(url) as conn:
        conn.execute("set local role service_role")
        row = conn.execute("select public.user_add('a@example.org')").fetchone()
    assert row
    return row[0], tokens.issue(SECRET, row[0], "a@example.org", 24 * 3600)


def _paired(address: str, token: str) -> list[tuple[UUID, str]]:
    with httpx.Client(
        base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}
    ) as http:
        http.post("/onboarding/complete").raise_for_status()
        made = [
            http.post("/agents/pair", json={"name": f"agent {n}"}).raise_for_status().json()
            for n in range(CONNECTIONS)
        ]
    return [(UUID(one["agent_id"]), one["agent_key"]) for one in made]

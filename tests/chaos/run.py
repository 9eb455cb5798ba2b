"""One chaos run: a server of its own, a crew behind a proxy, a nemesis, and the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from jobengine import schema
from jobengine.embedded import EmbeddedPostgres
from tests.chaos import host, report
from tests.chaos.crew import Crew
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import CREW, Plan
from tests.chaos.proxy import Proxy
from tests.chaos.report import Report
from tests.history import History, read
from tests.invariants import violations
from tests.planting import Bug, plant

# Once the faults are over every job ends within: a lease, three backoffs of a settle (1 + 2 + 4 s)
# and the work itself. The rest is patience with a busy machine.
DRAIN_SECONDS = 60.0
STUCK_SECONDS = 30.0  # without any change: it will not come to its end
COME_SECONDS = 30.0  # for the crew to begin
LEAVE_SECONDS = 10.0  # for backends to notice that their clients are gone
# A commit survives the death of any process. Without fsync, since only the death of the machine
# would tell the difference, and a recovery that syncs every file first takes seconds.
SETTINGS = {"synchronous_commit": "on"}


Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run a plan; bugs, statements and settings are for runs that must find something."""

    bugs: Sequence[Bug] = ()
    statements: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report of a run, and where its traces are; what is not wanted is gone."""

    report: Report
    log: Sequence[str]
    folder: Path


def run(plan: Plan, options: Options | None = None) -> Outcome:
    """Carry the plan out and judge what came of it."""
    wanted = options or Options()
    folder = Path(tempfile.mkdtemp(prefix="jobengine-chaos-"))
    try:
        made, log = _run_in(folder, plan, wanted)
    except BaseException:
        shutil.rmtree(folder)
        raise
    (folder / "schedule.txt").write_text("\n".join(log) + "\n")
    if not made.violations and not wanted.keep:
        shutil.rmtree(folder)
    return Outcome(made, log, folder)


def _run_in(folder: Path, plan: Plan, options: Options) -> tuple[Report, list[str]]:
    folder.chmod(0o755)  # as root the server runs as another user, which must reach its data
    traces = folder / "history"
    traces.mkdir()
    settings = {**SETTINGS, **options.settings}
    with EmbeddedPostgres(folder / "postgres", settings=settings, durable=False) as server:
        admin_url = make_conninfo(server.admin_url, dbname="jobengine")
        asyncio.run(_install(server.url))
        _furnish(server.url, admin_url, options)
        return _run(plan, options, server, admin_url, traces)


def _furnish(url: str, admin_url: str, options: Options) -> None:
    """Make the host's tables, and break what is to be broken."""
    with database(admin_url) as admin, database(url) as owner:
        host.furnish(owner, admin)
        for bug in options.bugs:
            plant(admin, bug)
        for statement in options.statements:
            admin.execute(statement.encode())


def _run(
    plan: Plan, options: Options, server: EmbeddedPostgres, admin_url: str, traces: Path
) -> tuple[Report, list[str]]:
    with Proxy(server.url, swallow=plan.loses) as proxy, _crew(proxy.url, traces, plan) as crew:
        nemesis = Nemesis(plan, crew, proxy, server, admin_url, options.say)
        _until_busy(crew, admin_url)
        nemesis.run()
        options.say("drain")
        drain = _drain(crew, admin_url)
        faults = {**nemesis.done, **{f"lost {op}": n for op, n in proxy.swallowed.items()}}
    options.say("judgement")
    return _judge(nemesis, read(traces), admin_url, drain, faults), nemesis.log


async def _install(url: str) -> None:
    # Without install's comparison with catalog.txt: the SQL may be broken on purpose.
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await schema.apply(conn)


@contextlib.contextmanager
def database(url: str) -> Iterator[Connection]:
    """Yield a connection of the runner's own, past the proxy; the last crash may be just over."""
    with _patiently(lambda: psycopg.connect(url, autocommit=True, row_factory=dict_row)) as conn:
        yield conn


def _patiently(connect: Callable[[], Connection]) -> Connection:
    deadline = time.monotonic() + COME_SECONDS
    while True:
        try:
            return connect()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def _crew(url: str, traces: Path, plan: Plan) -> Iterator[Crew]:
    crew = Crew(url, traces, plan.seed)
    try:
        crew.hire_all(CREW)
        yield crew
    finally:
        crew.disband()


def _until_busy(crew: Crew, admin_url: str) -> None:
    """Wait until everybody has come and jobs end; with a broken engine that may never be."""
    deadline = time.monotonic() + COME_SECONDS
    with database(admin_url) as admin:
        while host.busy(admin) < sum(CREW.values()) and time.monotonic() < deadline:
            crew.look_after(crew.actors)
            time.sleep(0.05)


def _drain(crew: Crew, admin_url: str) -> float:
    """Let everything come to its end; return how long that took."""
    crew.retire("producer", "steward")
    began = changed = time.monotonic()
    before: dict[str, int] = {}
    with database(admin_url) as admin:
        while left := host.left(admin):
            now = time.monotonic()
            if left != before:
                before, changed = left, now
            if now - began > DRAIN_SECONDS or now - changed > STUCK_SECONDS:
                crew.problems.append(f"liveness: {left} left {now - began:.0f} s after the faults")
                break
            crew.look_after(crew.actors)
            time.sleep(0.05)
    took = time.monotonic() - began
    crew.retire("worker", "agent")
    return took


def _judge(
    nemesis: Nemesis, history: History, admin_url: str, drain: float, faults: dict[str, int]
) -> Report:
    with database(admin_url) as admin:
        finals, audit = host.final_jobs(admin), host.audit(admin)
        left_behind = _leftovers(admin)
    found = violations(history, finals, audit)
    recoveries = report.recoveries(nemesis.interruptions, history)
    middle, worst = report.middle(recoveries)
    return Report(
        seed=nemesis.plan.seed,
        profile=nemesis.plan.profile,
        seconds=nemesis.plan.seconds,
        faults=faults,
        operations=report.operations(history),
        jobs=len(finals),
        parents=len(audit.parents),
        moves=len(audit.moves),
        redeliveries=report.redeliveries(history),
        stale=report.stale(history.reported),
        interruptions=len(nemesis.interruptions),
        recovery_median=middle,
        recovery_worst=worst,
        recoveries=len(recoveries),
        drain=drain,
        violations=[*nemesis.crew.problems, *found, *left_behind],
    )


def _leftovers(admin: Connection) -> list[str]:
    """Name what is left when the server has had time to notice that everybody is gone."""
    deadline = time.monotonic() + LEAVE_SECONDS
    while (found := host.leftovers(admin)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found

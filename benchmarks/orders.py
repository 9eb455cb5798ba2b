"""How long an order takes from its user to the terminal and back, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from uuid import UUID

import psycopg

from benchmarks.orders_traders import Calls, Trip, trade, warm
from benchmarks.orders_world import Spent, World, world
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    "How long does `POST /orders` take until its answer 200, filled? One `python -m api serve`, "
    "real agents with simulated terminals, traders who open and close positions in turn, without a "
    "pause. The hops are medians of the opening orders: asked → *received* (in the database) → "
    "*claimed* by the agent → *sent* (begun: the fence) → *reported* with its fill → *answered*; "
    "*terminal* is the part of reported that the terminal's call took, by the agent's clock. "
    "The first rows are the floor: one durable commit of this server, and an endpoint that needs "
    "nobody but the database."
)
HOPS = ("received", "claimed", "sent", "reported", "answered")
COLUMNS = (
    *(Column(f"p{part}_ms", f"p{part} ms", digits=1) for part in (50, 95, 99)),
    Column("per_second", "orders/s"),
    *(Column(f"{hop}_ms", hop, digits=1) for hop in (*HOPS, "terminal")),
    *(
        Column(f"{side}_cpu_ms", f"{side} CPU ms/order", digits=1)
        for side in ("service", "agent", "server")
    ),
)
AIMS_MS = (100.0, 20.0)
COMMIT, SETTINGS = "durable commit", "GET /settings, one at a time"
AGENTS = (1, 4)
TRADERS = (1, 8, 32)
_SECONDS = 3.0
_FLOOR_SECONDS = 1.0
_WARM = 5  # the plans of prepared statements, and connections
_TIMES = """select job_id, extract(epoch from created_at)::float8,
        extract(epoch from claimed_at)::float8, extract(epoch from started_at)::float8,
        extract(epoch from finished_at)::float8, (output -> 'latency' ->> 'sent_ms')::float8
    from jobengine.get(%s)"""


@dataclass(frozen=True, slots=True)
class Case:
    """So many traders at once, spread over so many agents."""

    agents: int
    traders: int

    @property
    def name(self) -> str:
        agents = "1 agent" if self.agents == 1 else f"{self.agents} agents"
        return f"{agents}, " + ("1 trader" if self.traders == 1 else f"{self.traders} traders")


ONE = Case(1, 1)
CASES = [Case(agents, traders) for agents in AGENTS for traders in TRADERS]


def run(lab: Lab) -> Result:
    """Measure every case once per run, in turn."""
    names = [COMMIT, SETTINGS, *(case.name for case in CASES)]
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    share = 0.2 if lab.quick else 1.0
    with world(lab, max(AGENTS)) as running:
        for account in running.accounts:
            warm(Calls(running.address, running.token), account, _WARM)
        for number in range(1, lab.runs + 1):
            for name, sample in _round(running, share):
                samples[name].append(sample)
                say(f"orders {number}/{lab.runs}: {name}")
    return Result("orders", QUESTION, COLUMNS, samples, _ratios(samples), [_without()])


def _round(running: World, share: float) -> Iterator[tuple[str, Sample]]:
    """Measure each case once."""
    yield COMMIT, measure_commits(running, share * _FLOOR_SECONDS)
    yield SETTINGS, measure_settings(running, share * _FLOOR_SECONDS)
    for case in CASES:
        yield case.name, measure(running, case, share * _SECONDS)


def measure(running: World, case: Case, seconds: float) -> Sample:
    """Have the traders trade, and say where the time went."""
    before, began = running.spent(), time.monotonic()
    accounts = running.accounts[: case.agents]
    opened, closed = trade(running.address, running.token, accounts, case.traders, seconds)
    took, spent = time.monotonic() - began, running.spent().since(before)
    count = len(opened) + len(closed)
    return {
        **_figures(opened, count / took),
        **_hops(running, opened),
        **_cpu(spent, count),
    }


def measure_commits(running: World, seconds: float) -> Sample:
    """Commit a row again and again on one connection."""
    trips = []
    with psycopg.connect(running.database.admin_url, autocommit=True) as conn:
        conn.execute("create table if not exists floor (n integer)")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            asked = time.time()
            conn.execute("insert into floor values (1)", prepare=True)
            trips.append(Trip(asked, time.time()))
    return _figures(trips, len(trips) / seconds)


def measure_settings(running: World, seconds: float) -> Sample:
    """Ask for the settings again and again: a token, a transaction, no commit of anything."""
    calls, before = Calls(running.address, running.token), running.spent()
    until, trips = time.monotonic() + seconds, []
    while time.monotonic() < until:
        trips.append(calls.trip("GET", "/settings")[0])
    spent = running.spent().since(before)
    return {
        **_figures(trips, len(trips) / seconds),
        **_cpu(spent, len(trips)),
        "agent_cpu_ms": None,
    }


def _figures(trips: Sequence[Trip], rate: float) -> dict[str, float | None]:
    parts = quantiles([trip.milliseconds for trip in trips], n=100)
    empty = dict.fromkeys(column.key for column in COLUMNS)
    measured = {"p50_ms": parts[49], "p95_ms": parts[94], "p99_ms": parts[98]}
    return {**empty, **measured, "per_second": rate}


def _hops(running: World, trips: Sequence[Trip]) -> Mapping[str, float]:
    """Return the median of each step, in milliseconds."""
    ids = [trip.order_id for trip in trips]
    with psycopg.connect(running.database.admin_url) as conn:
        known: dict[UUID, tuple[float, ...]] = {
            row[0]: row[1:] for row in conn.execute(_TIMES, (ids,)).fetchall()
        }
    marks = [(t, known[UUID(str(t.order_id))]) for t in trips]
    steps = [
        [1e3 * (b - a) for a, b in pairwise((trip.asked, *times[:-1], trip.answered))]
        for trip, times in marks
    ]
    found = {f"{hop}_ms": median(s[n] for s in steps) for n, hop in enumerate(HOPS)}
    return {**found, "terminal_ms": median(times[-1] for _, times in marks)}


def _cpu(spent: Spent, count: int) -> Mapping[str, float | None]:
    sides = {"service": spent.service, "agent": spent.agents, "server": spent.server}
    return {
        f"{side}_cpu_ms": None if seconds is None else 1e3 * seconds / count
        for side, seconds in sides.items()
    }


def _ratios(samples: Mapping[str, Sequence[Sample]]) -> list[Ratio]:
    def p50(case: str) -> list[float]:
        return [float(sample["p50_ms"] or 0) for sample in samples[case]]

    order = p50(ONE.name)
    ratios = [
        Ratio(f"{aim:g} ms / p50 of {ONE.name}", [aim / ms for ms in order], 1.0) for aim in AIMS_MS
    ]
    for floor in (COMMIT, SETTINGS):
        values = [a / b for a, b in zip(order, p50(floor), strict=True)]
        ratios.append(Ratio(f"p50 of {ONE.name} / {floor}", values))
    return ratios


def _without() -> str:
    """Return what the source documents' own way would take, by arithmetic: it is not run."""
    agent, status = 30.0, 0.5
    return (
        f"By arithmetic, not measured: an agent that asks every {agent:g} s and a user who asks "
        f"every {status * 1e3:g} ms wait {(agent + status) / 2:.2f} s on average and "
        f"{agent + status:g} s at worst, besides the work itself."
    )


SCENARIO = Scenario("orders", QUESTION, run)

"""One seeded run: traders trade, agent and service die at chosen points, and the book is judged."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from forex_agent.simulated import read_book
from psycopg.rows import dict_row

from tests.faults.trades import agent_process, judge, service_process
from tests.faults.trades.judge import Evidence
from tests.faults.trades.keeper import Keeper
from tests.faults.trades.traders import Trader

TRADERS = 6
PATIENCE = 120.0
LOOK_SECONDS = 0.05
QUICK = {
    "FOREX_AGENT_TRACE_SECONDS": "0.5",  # the simulated broker hides nothing for longer
    "FOREX_AGENT_DEALS_SECONDS": "0.2",
    "FOREX_AGENT_CHECK_SECONDS": "0.2",
    "FOREX_AGENT_HEARTBEAT_SECONDS": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """How often agent and service die, at points that the seed chooses.

    `at` names the agent's points instead; `environment` is added to the agent's.
    """

    agent: int = 0
    service: int = 0
    at: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run."""

    wrong: list[str]
    killed: Counter[str]
    statuses: Counter[str]
    fills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user and the agent of a run."""

    user_id: UUID
    headers: Mapping[str, str]
    state: Path


def run(
    seed: str,
    *,
    service: Keeper,
    url: str,
    database_url: str,
    account: Account,
    deaths: Deaths,
) -> Result:
    """Trade until every planned death was died, then until all is settled, and judge."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    agent = Keeper(
        "agent_process",
        ["--state", str(account.state), "run", "--simulated"],
        {**QUICK, "FOREX_AGENT_SIMULATED_SEED": str(chance.randrange(2**31)), **deaths.environment},
        account.state / "agent.log",
    )
    before = service.killed.copy()
    agent.plan(deaths.at or _points(chance, agent_process.POINTS, deaths.agent))
    service.plan(_points(chance, service_process.POINTS, deaths.service))
    with ExitStack() as stack:
        stack.enter_context(agent)
        traders = _trade(seed, url, account, agent, service)
        evidence = _settled(database_url, account, traders, agent, service)
    return Result(
        wrong=[
            *judge.unsafe(evidence),
            *judge.unsettled(evidence),
            *_broken(traders, agent, service),
        ],
        killed=agent.killed + service.killed - before,
        statuses=Counter(row["status"] for row in evidence.orders.values()),
        fills=len(evidence.book.deals),
    )


def _points(chance: random.Random, points: tuple[str, ...], count: int) -> list[str]:
    return [f"{chance.choice(points)}:{chance.randint(1, 3)}" for _ in range(count)]


def _trade(seed: str, url: str, account: Account, agent: Keeper, service: Keeper) -> list[Trader]:
    """Let the traders trade until nobody has to die any more."""
    over = threading.Event()
    deadline = time.monotonic() + PATIENCE

    def enough() -> bool:
        spent = agent.spent and service.spent
        if spent or agent.broken or service.broken or time.monotonic() > deadline:
            over.set()
        return over.is_set()

    traders = [Trader(url, account.headers, f"{seed}/{n}", enough) for n in range(TRADERS)]
    for trader in traders:
        trader.start()
    for trader in traders:
        trader.join()
    return traders


def _broken(traders: list[Trader], *keepers: Keeper) -> list[str]:
    """Return what did not end as planned."""
    errors = [repr(trader.error) for trader in traders if trader.error]
    errors += [keeper.broken for keeper in keepers if keeper.broken]
    return errors + ["a planned death was not died" for keeper in keepers if not keeper.spent]


def _settled(
    database_url: str, account: Account, traders: list[Trader], *keepers: Keeper
) -> Evidence:
    """Look until everything is settled, cannot be mended, or for as long as there is patience."""
    deadline = time.monotonic() + PATIENCE / 2
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        while True:
            evidence = _look(conn, account, traders)
            over = time.monotonic() > deadline or any(keeper.broken for keeper in keepers)
            if over or list(judge.unsafe(evidence)) or not list(judge.unsettled(evidence)):
                return evidence
            time.sleep(LOOK_SECONDS)


def _look(
    conn: psycopg.Connection[dict[str, Any]], account: Account, traders: list[Trader]
) -> Evidence:
    book = read_book(account.state / "book.db")
    orders = conn.execute(judge.ORDERS.encode(), (account.user_id,)).fetchall()
    deals = conn.execute(judge.DEALS.encode(), (account.user_id,)).fetchall()
    realized = conn.execute(judge.PNL.encode(), (account.user_id,)).fetchone()
    assert realized is not None
    return Evidence(
        orders={row["job_id"]: row for row in orders},
        deals={row["deal_id"]: row for row in deals},
        realized=realized["realized"],
        book=book,
        placed=[placed for trader in traders for placed in trader.placed],
    )

"""Orders, reads and deals as tests of the platform's SQL make them."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.sql.platform.helpers import Db, User, call, new_job, one

FILL = {
    "ticket": "p1",
    "broker_order_id": "o1",
    "position_id": "p1",
    "deal_id": "d1",
    "symbol": "EURUSD",
    "side": "buy",
    "volume": 0.1,
    "fill_price": 1.1,
    "commission": -0.7,
    "swap": 0,
    "retcode": 10009,
    "retcode_name": "TRADE_RETCODE_DONE",
    "latency": {"queued_ms": 1, "sent_ms": 2, "filled_ms": 12},
}


def alive(db: Db, agent: UUID) -> None:
    """Let an agent give a sign of life."""
    call(db, "agent_heartbeat", agent_id=agent)


def alert_order(db: Db, trader: User, signal: UUID, order: dict[str, Any]) -> UUID:
    """Put the order of a signal in; return its job's id."""
    return new_job(
        db,
        trader.id,
        "trade",
        agent_id=trader.agent,
        parent_type="tv_signal",
        parent_id=signal,
        input=order,
    )


def order(db: Db, user: User, **changes: Any) -> DictRow:
    arguments = {"symbol": "EURUSD", "side": "buy", "volume": 0.1, **changes}
    return one(db, "order_create", user=user.id, **exact(arguments))


def exact(arguments: dict[str, Any]) -> dict[str, Any]:
    """Prices and volumes are `numeric`, for which Python has no literal."""
    names = ("volume", "sl", "tp")
    return {k: Decimal(str(v)) if k in names and v is not None else v for k, v in arguments.items()}


def ordered(db: Db, user: User, job_id: UUID) -> DictRow:
    return one(db, "order_get", user=user.id, job_id=job_id)


def request(db: Db, user: User, **more: Any) -> dict[str, Any]:
    """One request of a claim, as the long-poll makes it."""
    [allowed] = call(db, "agent_queues", agent_ids=[user.agent])
    return {
        "tenant_id": str(user.id),
        "queues": allowed["queues"],
        "agent_id": str(user.agent),
        "limit": 1,
        "two_phase": "always",
        **more,
    }


def claimed(db: Db, user: User, **more: Any) -> DictRow:
    """Claim the next job of the user's agent; `id` is the job's, for `helpers.finish`."""
    [job] = call(db, "agent_claim", requests=Jsonb([request(db, user, **more)]))
    return {**job, "id": job["job_id"]}


def send(db: Db, user: User, job: DictRow) -> str:
    """Begin a claimed job; return the verdict."""
    verdict: str = one(
        db,
        "agent_start",
        agent_ids=[user.agent],
        job_ids=[job["job_id"]],
        lease_epochs=[job["lease_epoch"]],
    )["verdict"]
    return verdict


def sent(db: Db, user: User) -> DictRow:
    """Claim and begin the next job of the user's agent."""
    job = claimed(db, user)
    assert send(db, user, job) == "ok"
    return job


def events(db: Db, job_id: UUID) -> list[tuple[str, str | None]]:
    """What happened to an order, with the deals."""
    found = db.execute(
        "select event, deal_id from public.trade_events where job_id = %s order by id", (job_id,)
    ).fetchall()
    return [(e["event"], e["deal_id"]) for e in found]


def comment(job_id: UUID) -> str:
    """Return the comment that an order of this job has at the broker."""
    return base64.b32encode(job_id.bytes).decode().rstrip("=")


def deal(deal_id: str, time: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "deal_id": deal_id,
        "broker_order_id": "o1",
        "position_id": "p1",
        "symbol": "EURUSD",
        "side": "buy",
        "entry": "in",
        "volume": 0.1,
        "price": 1.1,
        "profit": 0,
        "commission": -0.7,
        "swap": 0,
        "magic": 0,
        "comment": "",
        "reason": "expert",
        "time": time.isoformat(),
        **changes,
    }


def report(
    db: Db, agent: UUID, *deals: dict[str, Any], account: dict[str, Any] | None = None
) -> tuple[int, int, int]:
    """Report deals; return how many came, were new, and resolved an unknown order."""
    found = one(db, "deals_report", agent_id=agent, deals=json.dumps(deals), account=account)
    return found["received"], found["new"], found["resolved"]


def losses(db: Db, user: UUID) -> list[tuple[str, float, float | None]]:
    """The days of a user: date, realised, base."""
    found = db.execute(
        "select day::text, realized_pnl, base_balance from public.daily_pnl"
        " where user_id = %s order by broker_connection_id, day",
        (user,),
    ).fetchall()
    return [
        (d["day"], float(d["realized_pnl"]), d["base_balance"] and float(d["base_balance"]))
        for d in found
    ]

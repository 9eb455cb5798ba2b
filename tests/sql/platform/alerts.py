"""Strategies and alerts as tests of the platform's SQL send them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import DictRow

from tests.sql.platform.helpers import Db, User, one, row, value

GATES = {"symbol": "EURUSD", "action": "buy", "volume": 0.1}


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy, its secret and its user."""

    id: UUID
    secret: str
    user: User


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_strategy(db: Db, user: User, **values: Any) -> Strategy:
    secret = secrets.token_urlsafe(32)
    made = one(
        db,
        "strategy_create",
        user=user.id,
        webhook_secret=secret,
        values={"name": "s", "broker_connection_id": str(user.account), **values},
    )
    return Strategy(made["id"], secret, user)


def alert(
    db: Db, strategy: Strategy, *, at: datetime | None = None, secret: str = "", **more: Any
) -> DictRow:
    """Send an alert as the service does; by default one that buys, with an id of its own."""
    told = {**GATES, "dedup_key": f"id:{uuid4()}", **more}
    received = at or value(db, "_now")
    arguments: dict[str, Any] = {
        "secret_digest": digest(secret or strategy.secret),
        "signal_id": uuid4(),
        "received_at": received,
        "payload": {k: v for k, v in told.items() if k in GATES},
        **{k: Decimal(str(v)) if isinstance(v, float) else v for k, v in told.items()},
    }
    return one(db, "signal_receive", **arguments)


def signal(db: Db, strategy: Strategy, signal_id: UUID) -> DictRow:
    return one(db, "signal_get", user=strategy.user.id, id=signal_id)


def job_input(db: Db, job_id: UUID) -> Any:
    return row(db, "select input from jobengine.job where job_id = %s", job_id)["input"]


def counts(db: Db, user: User) -> tuple[int, int]:
    """How many signals and how many jobs the user has."""
    found = row(
        db,
        "select (select count(*) from public.tv_signals where user_id = %s) as signals,"
        " (select count(*) from jobengine.job where tenant_id = %s) as jobs",
        *(user.id, user.id),
    )
    return found["signals"], found["jobs"]

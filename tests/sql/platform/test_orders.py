"""Orders: put in, claimed, sent, ended, and how a user sees them."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    finish,
    one,
)
from tests.sql.platform.trading import FILL, alive, claimed, events, order, ordered, send

NOBODY = UUID("00000000-0000-7000-8000-00000000dead")


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    """A user whose agent is there."""
    alive(pdb, anna.agent)
    return anna


def test_an_order_goes_to_the_agent_of_its_account(pdb: Db, trader: User, still: Clock) -> None:
    made = order(pdb, trader, sl=1.05, tp=1.2, deviation=20, client_order_id="c-1")
    assert made == {
        "job_id": made["job_id"],
        "agent_id": trader.agent,
        "broker_connection_id": trader.account,
        "replayed": False,
    }
    job = one(pdb, "job_get", user=trader.id, job_id=made["job_id"])
    assert job["queue"] == f"agent/{trader.agent}"
    assert job["input_data"] == {
        "symbol": "EURUSD",
        "side": "buy",
        "volume": 0.1,
        "sl": 1.05,
        "tp": 1.2,
        "deviation": 20,
        "source": "manual",
    }
    assert (job["expires_at"] - job["created_at"]).total_seconds() == 60
    assert events(pdb, made["job_id"]) == [("requested", None)]


def test_the_walk_of_an_order(pdb: Db, trader: User, still: Clock) -> None:
    job_id = order(pdb, trader, client_order_id="c-1")["job_id"]
    seen = [ordered(pdb, trader, job_id)]
    still.advance(1)
    job = claimed(pdb, trader)
    seen.append(ordered(pdb, trader, job_id))
    still.advance(1)
    assert send(pdb, trader, job) == "ok"
    seen.append(ordered(pdb, trader, job_id))
    still.advance(1)
    assert finish(pdb, job, "completed", FILL) == "ok"
    done = ordered(pdb, trader, job_id)
    assert [o["status"] for o in (*seen, done)] == ["pending", "claimed", "sent", "filled"]
    assert [o["agent_id"] for o in (*seen, done)] == [trader.agent] * 4
    start = done["created_at"]
    times = [done[n] for n in ("claimed_at", "sent_at", "finished_at", "expires_at")]
    assert [(t - start).total_seconds() for t in times] == [1, 2, 3, 60]
    assert {name: value for name, value in done.items() if not name.endswith("_at")} == {
        "order_id": job_id,
        "user_id": trader.id,
        "client_order_id": "c-1",
        "kind": "open",
        "status": "filled",
        "symbol": "EURUSD",
        "side": "buy",
        "volume": Decimal("0.1"),
        "filled_volume": Decimal("0.1"),
        "sl": None,
        "tp": None,
        "fill_price": Decimal("1.1"),
        "pnl": None,
        "broker_order_id": "o1",
        "position_id": "p1",
        "deal_id": "d1",
        "retcode": 10009,
        "retcode_name": "TRADE_RETCODE_DONE",
        "error_code": None,
        "message": None,
        "broker_connection_id": trader.account,
        "agent_id": trader.agent,
        "source": "manual",
    }
    told = events(pdb, job_id)
    assert [name for name, _ in told] == ["requested", "claimed", "sent", "filled"]
    found = call(pdb, "order_events", user=trader.id, job_id=job_id)
    assert [e["event"] for e in found] == ["requested", "claimed", "sent", "filled"]
    assert [e["agent_id"] for e in found] == [trader.agent] * 4
    assert found[-1]["latency_ms"] == 12

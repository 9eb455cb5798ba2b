"""The endpoints of trading: what a user asks of the account's agent, and what that reports."""

from __future__ import annotations

from api import candles, deals, models, orders, reads
from api.endpoint import V1, Access, Endpoint

# An account and its agent have to be found.
_TARGET = ("not_found", "broker_connection_required", "agent_offline")
_KEY = ("idempotency_key_reused",)
_ORDER = (
    *_TARGET,
    *_KEY,
    "onboarding_required",
    "order_rejected",
    "order_expired",
    "order_cancelled",
)
_GATES = (
    "trading_halted",
    "trading_reducing",
    "volume_out_of_range",
    "max_positions",
    "rate_limited",
    "daily_loss_limit_reached",
    "risk_data_unavailable",
    "broker_errors",
)
_READ = (*_TARGET, "agent_failed", "agent_timeout")

TRADING = [
    Endpoint(
        method="POST",
        path=f"{V1}/orders",
        handler=orders.place,
        summary="Place a market order and wait ten seconds for its fill",
        access=Access.USER,
        body=models.NewOrder,
        answer=models.Order,
        also=(202,),
        problems=(*_ORDER, *_GATES),
        keyed=True,
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/orders",
        handler=orders.page,
        summary="The user's orders, newest first",
        access=Access.USER,
        query=models.OrderPage,
        answer=list[models.Order],
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/orders/{{order_id}}",
        handler=orders.get,
        summary="Where an order stands, and how it came there",
        access=Access.USER,
        answer=models.OrderWithEvents,
        problems=("not_found",),
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/positions",
        handler=reads.positions,
        summary="The open positions of an account",
        access=Access.USER,
        query=models.Account,
        answer=list[models.Position],
        problems=_READ,
    ),
    Endpoint(
        method="DELETE",
        path=f"{V1}/positions/{{ticket}}",
        handler=orders.close,
        summary="Close a position, or a part of it, and wait ten seconds for the price",
        access=Access.USER,
        query=models.Closing,
        answer=models.ClosedPosition,
        also=(202,),
        problems=(*_ORDER, "position_not_found"),
        keyed=True,
        names={"ticket": models.Ticket},
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/account",
        handler=reads.account,
        summary="What an account holds",
        access=Access.USER,
        query=models.Account,
        answer=models.Balance,
        problems=_READ,
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/candles/{{instrument}}",
        handler=candles.candles,
        summary="The newest candles of an instrument, kept for 30 seconds",
        access=Access.USER,
        query=models.CandleQuery,
        answer=list[models.Candle],
        problems=_READ,
        names={"instrument": models.Instrument},
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/agents/{{agent_id}}/deals",
        handler=deals.report,
        summary="Report deals of the account, 500 at most, and its state",
        access=Access.AGENT,
        body=models.Deals,
        answer=models.DealsTaken,
        problems=("agent_without_account",),
    ),
]

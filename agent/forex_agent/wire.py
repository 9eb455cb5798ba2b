"""Values of the terminal in the shape that the wire has: numbers are numbers, tickets text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from forex_agent.job import Job, Json, Report, show_time
from forex_agent.terminal import Account, Candle, Close, Deal, Fill, Order, Position, Tick

DONE, DONE_PARTIAL = 10009, 10010
NAMES = {DONE: "TRADE_RETCODE_DONE", DONE_PARTIAL: "TRADE_RETCODE_DONE_PARTIAL"}


class InvalidInput(ValueError):
    """A job's input breaks a rule; the message names field and rule."""


def order(job: Job, deviation: int) -> Order:
    """Read a trade's input; raises `InvalidInput`."""
    given = job.input
    return Order(
        symbol=text(given, "symbol"),
        side=_side(given),
        volume=_positive(given, "volume"),
        sl=_optional(given, "sl"),
        tp=_optional(given, "tp"),
        magic=whole(given, "magic", 0),
        comment=job.comment,
        deviation=whole(given, "deviation", deviation),
    )


def close(job: Job, deviation: int) -> Close:
    """Read a close_position's input; raises `InvalidInput`."""
    given = job.input
    return Close(
        ticket=text(given, "ticket"),
        volume=_optional(given, "volume"),
        comment=job.comment,
        deviation=whole(given, "deviation", deviation),
    )


def text(given: Mapping[str, Any], name: str) -> str:
    """Return a text of the input; a ticket may come as a number."""
    value = given.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name}: text, not empty")
    return value


def whole(given: Mapping[str, Any], name: str, default: int) -> int:
    """Return a whole number of the input, zero or more."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(f"{name}: a whole number, zero or more")
    return value


def _side(given: Mapping[str, Any]) -> Any:
    if given.get("side") not in {"buy", "sell"}:
        raise InvalidInput("side: buy or sell")
    return given["side"]


def _positive(given: Mapping[str, Any], name: str) -> Decimal:
    try:
        value = Decimal(str(given.get(name)))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and value > 0):
        raise InvalidInput(f"{name}: a number above zero")
    return value


def _optional(given: Mapping[str, Any], name: str) -> Decimal | None:
    return None if given.get(name) is None else _positive(given, name)


def filled(job: Job, fill: Fill, latency: Json) -> Report:
    """Return the report of an order that was done."""
    common = {
        "broker_order_id": fill.order_id,
        "deal_id": fill.deal_id,
        "symbol": fill.symbol,
        "side": fill.side,
        "volume": float(fill.volume),
        "commission": float(fill.commission),
        "swap": float(fill.swap),
        "retcode": fill.retcode,
        "retcode_name": fill.retcode_name,
        "latency": latency,
    }
    if job.job_type == "close_position":
        more = {
            "ticket": str(job.input["ticket"]),
            "closed_price": float(fill.price),
            "pnl": float(fill.pnl),
        }
    else:
        more = {
            "ticket": fill.position_id,
            "position_id": fill.position_id,
            "fill_price": float(fill.price),
            # on a netting account a trade may close something
            **({"pnl": float(fill.pnl)} if fill.pnl else {}),
        }
    return Report(status="completed", output={**common, **more})


def found(job: Job, traces: Sequence[Deal]) -> Report | None:
    """Return the report of an order whose deals were found; None where none of them is its own.

    Price by volume, money in sum. A sum is of no one deal, so it names none: each is reported as a
    deal, and counted there.
    """
    deals = [deal for deal in traces if _own(job, deal)]
    if not deals:
        return None
    volume = sum((deal.volume for deal in deals), Decimal())
    worth = sum((deal.price * deal.volume for deal in deals), Decimal())
    last = deals[-1]
    wanted = job.input.get("volume")
    partial = wanted is not None and volume < Decimal(str(wanted))
    retcode = DONE_PARTIAL if partial else DONE
    fill = Fill(
        order_id=last.order_id,
        deal_id=last.deal_id,
        position_id=last.position_id,
        symbol=last.symbol,
        side=last.side,
        volume=volume,
        price=worth / volume if volume else last.price,
        pnl=sum((deal.profit for deal in deals), Decimal()),
        commission=sum((deal.commission for deal in deals), Decimal()),
        swap=sum((deal.swap for deal in deals), Decimal()),
        retcode=retcode,
        retcode_name=NAMES[retcode],
    )
    report = filled(job, fill, {})
    report.output["reconciled"] = True
    if len(deals) > 1:
        report.output["deal_id"] = None
    return report


def _own(job: Job, deal: Deal) -> bool:
    """Tell whether the order made the deal: brokers hand a comment on to what closes a position."""
    if job.job_type == "close_position":
        return deal.entry != "in"
    return deal.side == job.input.get("side")


def account(one: Account) -> Json:
    """Return the account's money."""
    return {
        "balance": float(one.balance),
        "equity": float(one.equity),
        "margin_used": float(one.margin_used),
        "margin_available": float(one.margin_available),
        "currency": one.currency,
        "leverage": one.leverage,
    }


def position(one: Position) -> Json:
    """Return an open position."""
    return {
        "ticket": one.ticket,
        "symbol": one.symbol,
        "side": one.side,
        "volume": float(one.volume),
        "open_price": float(one.open_price),
        "current_price": float(one.current_price),
        "sl": None if one.sl is None else float(one.sl),
        "tp": None if one.tp is None else float(one.tp),
        "profit": float(one.profit),
        "swap": float(one.swap),
        "open_time": show_time(one.open_time),
        "magic": one.magic,
        "comment": one.comment,
    }


def candle(one: Candle) -> Json:
    """Return a bar; its time in seconds since 1970."""
    return {
        "time": int(one.time.timestamp()),
        "open": float(one.open),
        "high": float(one.high),
        "low": float(one.low),
        "close": float(one.close),
        "volume": one.volume,
    }


def deal(one: Deal) -> Json:
    """Return a deal of the account's history."""
    return {
        "deal_id": one.deal_id,
        "broker_order_id": one.order_id,
        "position_id": one.position_id,
        "symbol": one.symbol,
        "side": one.side,
        "entry": one.entry,
        "volume": float(one.volume),
        "price": float(one.price),
        "profit": float(one.profit),
        "commission": float(one.commission),
        "swap": float(one.swap),
        "magic": one.magic,
        "comment": one.comment,
        "reason": one.reason,
        "time": show_time(one.time),
    }


def price(tick: Tick) -> Json:
    """Return what an instrument costs."""
    return {"bid": float(tick.bid), "ask": float(tick.ask)}

"""The package's rows as the agent's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forex_agent.mt5 import constants
from forex_agent.mt5.clock import BrokerClock
from forex_agent.mt5.constants import Filling
from forex_agent.mt5.numbers import exact, price_or_none
from forex_agent.terminal import Account, Candle, Deal, Position, Symbol, Tick


def account(row: Any) -> Account:
    return Account(
        balance=exact(row.balance),
        equity=exact(row.equity),
        margin_used=exact(row.margin),
        margin_available=exact(row.margin_free),
        currency=row.currency,
        leverage=int(row.leverage),
    )


def symbol(row: Any) -> Symbol:
    return Symbol(
        name=row.name,
        digits=int(row.digits),
        point=exact(row.point),
        volume_min=exact(row.volume_min),
        volume_max=exact(row.volume_max),
        volume_step=exact(row.volume_step),
        contract_size=exact(row.trade_contract_size),
        stops_level=int(row.trade_stops_level),
        fillings=fillings(row.filling_mode, row.trade_exemode),
        trade_allowed=row.trade_mode == constants.SYMBOL_TRADE_MODE_FULL,
    )


def fillings(mask: int, execution: int) -> Sequence[Filling]:
    """Return the filling modes that the symbol allows, those that its mask names first.

    With market execution only those of the mask. With request, instant and exchange execution the
    terminal's manual allows `return` besides. A mask of 0 leaves `return` in any case.
    """
    named: list[Filling] = [
        name for name, bit in constants.SYMBOL_FILLING.items() if int(mask) & bit
    ]
    if not named or execution != constants.SYMBOL_TRADE_EXECUTION_MARKET:
        named.append("return")
    return tuple(named)


def tick(name: str, row: Any, clock: BrokerClock) -> Tick:
    return Tick(symbol=name, bid=exact(row.bid), ask=exact(row.ask), at=clock.utc(row.time_msc))


def candle(row: Any, clock: BrokerClock) -> Candle:
    """Convert a row of a numpy array: its fields go by name, its numbers are numpy's."""
    return Candle(
        time=clock.utc(int(row["time"]) * 1000),
        open=exact(row["open"]),
        high=exact(row["high"]),
        low=exact(row["low"]),
        close=exact(row["close"]),
        volume=int(row["tick_volume"]),
    )


def position(row: Any, clock: BrokerClock) -> Position:
    return Position(
        ticket=str(row.ticket),
        symbol=row.symbol,
        side="buy" if row.type == constants.POSITION_TYPE_BUY else "sell",
        volume=exact(row.volume),
        open_price=exact(row.price_open),
        current_price=exact(row.price_current),
        sl=price_or_none(row.sl),
        tp=price_or_none(row.tp),
        profit=exact(row.profit),
        swap=exact(row.swap),
        open_time=clock.utc(row.time_msc),
        magic=int(row.magic),
        comment=row.comment,
    )


def trades(rows: Sequence[Any]) -> Iterator[Any]:
    """Leave out what is no trade: deposits, credits, corrections, and cancelled deals."""
    for row in rows:
        if row.type in {constants.DEAL_TYPE_BUY, constants.DEAL_TYPE_SELL}:
            yield row


def deal(row: Any, clock: BrokerClock) -> Deal:
    """Convert a deal; the broker's fee counts as commission."""
    return Deal(
        deal_id=str(row.ticket),
        order_id=str(row.order),
        position_id=str(row.position_id),
        symbol=row.symbol,
        side="buy" if row.type == constants.DEAL_TYPE_BUY else "sell",
        entry=constants.DEAL_ENTRY[row.entry],
        volume=exact(row.volume),
        price=exact(row.price),
        profit=exact(row.profit),
        commission=exact(row.commission) + exact(row.fee),
        swap=exact(row.swap),
        magic=int(row.magic),
        comment=row.comment,
        reason=constants.DEAL_REASON.get(row.reason, "other"),
        time=clock.utc(row.time_msc),
    )

"""The package's constants that the driver uses, as MetaTrader5 5.0.6231 has them.

They are part of the terminal's protocol and do not change; the names are the package's.
"""

from __future__ import annotations

from typing import Literal

from forex_agent.terminal import Entry, Reason

TRADE_ACTION_DEAL = 1
ORDER_TIME_GTC = 0
RES_S_OK = 1
ORDER_TYPE_BUY, ORDER_TYPE_SELL = 0, 1
POSITION_TYPE_BUY = 0
DEAL_TYPE_BUY, DEAL_TYPE_SELL = 0, 1
SYMBOL_TRADE_MODE_DISABLED = 0
SYMBOL_TRADE_MODE_LONGONLY = 1
SYMBOL_TRADE_MODE_SHORTONLY = 2
SYMBOL_TRADE_MODE_CLOSEONLY = 3
SYMBOL_TRADE_MODE_FULL = 4
SYMBOL_TRADE_EXECUTION_MARKET = 2

Filling = Literal["fok", "ioc", "return"]
ORDER_FILLING: dict[Filling, int] = {"fok": 0, "ioc": 1, "return": 2}
# `symbol_info().filling_mode` is a bit mask with numbers of its own (MQL5: SYMBOL_FILLING_…); the
# package has no names for them.
SYMBOL_FILLING: dict[Filling, int] = {"fok": 1, "ioc": 2}

DEAL_ENTRY: dict[int, Entry] = {0: "in", 1: "out", 2: "inout", 3: "out_by"}
# Client, mobile, web: a person; the rest of those that we do not name are `other`.
DEAL_REASON: dict[int, Reason] = {
    0: "client",
    1: "client",
    2: "client",
    3: "expert",
    4: "sl",
    5: "tp",
    6: "stop_out",
}

_HOURS, _WEEK, _MONTH = 0x4000, 0x8000, 0xC000
TIMEFRAMES = {
    **{f"M{n}": n for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{f"H{n}": _HOURS | n for n in (1, 2, 3, 4, 6, 8, 12)},
    "D1": _HOURS | 24,
    "W1": _WEEK | 1,
    "MN1": _MONTH | 1,
}

"""A trading terminal as far as the demo needs one: prices that walk, a book of deals, charts.

What it answers follows from the job and the seed alone, except for prices.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

DONE = 10009  # TRADE_RETCODE_DONE
LARGEST_VOLUME = 50.0  # lots
SPREAD = 0.0002
BALANCE = 10_000.0
LOT = 100_000


class Refused(Exception):
    """The terminal does not do it; the words are the job's error."""

    def __init__(self, message: str, output: Json | None = None) -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True, slots=True)
class Work:
    """A job as the service described it."""

    job_id: str
    job_type: str
    input: Json


class Terminal:
    """One account; `deals` are the answers of earlier orders that were filled."""

    def __init__(self, seed: str, symbols: Iterable[str], deals: Iterable[Json] = ()) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._bids = {symbol: self._chance.uniform(0.9, 1.6) for symbol in symbols}
        self._positions = {str(deal["ticket"]): deal for deal in deals}
        self._lock = threading.Lock()
        self._answers: dict[str, Callable[[Work], Json]] = {
            "trade": self._trade,
            "close_position": self._close_position,
            "get_positions": lambda _: {"positions": list(self._positions.values())},
            "get_account": self._account,
            "get_candles": self._candles,
            "compile": _compile,
            "deploy": self._chart,
            "run": self._chart,
            "stop": self._chart,
        }

    def do(self, work: Work) -> Json:
        """Do the work and return its output, or raise `Refused`."""
        return self._answers[work.job_type](work)

    def tick(self) -> dict[str, Json]:
        """Let the prices walk on, and return them."""
        with self._lock:
            for symbol, bid in self._bids.items():
                self._bids[symbol] = bid * (1 + self._chance.uniform(-1e-4, 1e-4))
        return {symbol: self._price(symbol) for symbol in self._bids}

    def _price(self, symbol: str) -> Json:
        if symbol not in self._bids:
            raise Refused(f"unknown symbol {symbol}")
        bid = round(self._bids[symbol], 5)
        return {"bid": bid, "ask": round(bid + SPREAD, 5)}

    def _trade(self, work: Work) -> Json:
        order = work.input
        if not 0 < order["volume"] <= LARGEST_VOLUME:
            raise Refused("10014 invalid volume", {"retcode": 10014})
        price = self._price(order["symbol"])["ask" if order["side"] == "buy" else "bid"]
        ticket = _number(work.job_id)
        deal = {
            **{name: order[name] for name in ("symbol", "side", "volume")},
            "ticket": ticket,
            "position_id": str(ticket),
            "deal_id": str(ticket),
            "retcode": DONE,
            "fill_price": price,
        }
        self._positions[str(ticket)] = deal
        return deal

    def _close_position(self, work: Work) -> Json:
        deal = self._positions.pop(str(work.input["ticket"]), None)
        if deal is None:
            raise Refused("10036 position is closed already")
        side, price = (1, "bid") if deal["side"] == "buy" else (-1, "ask")
        closed = self._price(deal["symbol"])[price]
        pnl = round(side * (closed - deal["fill_price"]) * deal["volume"] * LOT, 2)
        return {"closed_price": closed, "pnl": pnl, "retcode": DONE}

    def _account(self, _: Work) -> Json:
        used = sum(deal["volume"] for deal in self._positions.values()) * LOT / 100
        return {
            "balance": BALANCE,
            "equity": BALANCE,
            "margin_used": round(used, 2),
            "margin_available": round(BALANCE - used, 2),
            "currency": "USD",
            "leverage": 100,
        }

    def _candles(self, work: Work) -> Json:
        price = self._price(work.input["symbol"])["bid"]
        names = ("open", "high", "low", "close")
        candles = [
            {"time": 60 * number, **dict.fromkeys(names, price), "volume": number}
            for number in range(work.input["count"])
        ]
        return {"candles": candles}

    def _chart(self, work: Work) -> Json:
        self._price(work.input["symbol"])
        return {"symbol": work.input["symbol"], "chart": _number(work.job_id) % 100}


def _compile(work: Work) -> Json:
    source: str = work.input["source_code"]
    if "#error" in source:
        told = "expert.mq5(1,1): error 109: #error directive"
        raise Refused("compilation failed", {"compilation_error": told})
    return {
        "artifact_path": f"{work.job_id}.ex5",
        "log_path": f"{work.job_id}.log",
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
        "size_bytes": len(source),
        "warnings": source.count("#pragma"),
    }


def _number(job_id: str) -> int:
    """Return a number of this job's own, as brokers give tickets."""
    return int(job_id.replace("-", "")[-12:], 16)

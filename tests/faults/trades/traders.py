"""Traders who place orders and close positions over HTTP until they get an answer, come what may.

Every order has a key, and is repeated under it while nobody answers: that must never make two.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
AGAIN_SECONDS = 0.05
PATIENCE = 90.0  # for an answer that is one


@dataclass(slots=True)
class Placed:
    """A request, and the ids of the orders that its answers named."""

    key: str
    orders: set[str] = field(default_factory=set)


class Trader(threading.Thread):
    """One order after the other, until `enough`."""

    def __init__(
        self, url: str, headers: Mapping[str, str], seed: str, enough: Callable[[], bool]
    ) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, headers=dict(headers), timeout=30)
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._enough = enough
        self.placed: list[Placed] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self._http:
                while not self._enough():
                    self._trade()
        except (AssertionError, TimeoutError, ValueError) as error:
            self.error = error

    def _trade(self) -> None:
        """Open a position; now and then close it, wholly or by half."""
        order = {
            "symbol": self._chance.choice(SYMBOLS),
            "side": self._chance.choice(("buy", "sell")),
            "volume": 0.02,
            "expires_in": 120,
        }
        filled = self._insist("POST", "/api/v1/orders", order)
        if filled.get("position_id") and self._chance.random() < 0.4:
            part = self._chance.choice(("", "?volume=0.01"))
            self._insist("DELETE", f"/api/v1/positions/{filled['position_id']}{part}", None)

    def _insist(self, method: str, path: str, body: Any) -> dict[str, Any]:
        placed = Placed(str(uuid4()))
        self.placed.append(placed)
        deadline = time.monotonic() + PATIENCE
        last: object = None
        while time.monotonic() < deadline:
            try:
                answer = self._http.request(
                    method, path, json=body, headers={"Idempotency-Key": placed.key}
                )
            except httpx.TransportError as error:
                last = error
                time.sleep(AGAIN_SECONDS)
                continue
            told: dict[str, Any] = answer.json()
            last = answer.text
            if "order_id" in told:
                placed.orders.add(told["order_id"])
            if answer.status_code < 500:
                assert "order_id" in told, answer.text
                return told
            time.sleep(AGAIN_SECONDS)
        raise TimeoutError(f"{method} {path}: no answer in {PATIENCE} s but {last}")

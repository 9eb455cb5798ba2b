"""Traders: each opens a position and closes it, again and again, over a connection of his own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

API = "/api/v1"
_PATIENCE = 60.0
_AGAIN_SECONDS = 0.05
_ORDER = {"symbol": "EURUSD", "side": "buy", "volume": 0.01}


@dataclass(frozen=True, slots=True)
class Trip:
    """A call that was answered 200; times in seconds since 1970, as the database has them."""

    asked: float
    answered: float
    order_id: UUID | None = None

    @property
    def milliseconds(self) -> float:
        return 1e3 * (self.answered - self.asked)


class Calls:
    """One connection that is kept."""

    def __init__(self, address: str, token: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_PATIENCE)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and answer."""
        text = None if body is None else json.dumps(body)
        self._http.request(method, API + path, text, self._headers)
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())

    def trip(self, method: str, path: str, body: object = None) -> tuple[Trip, Any]:
        """Call and return how long it took; every answer but 200 is an error."""
        asked = time.time()
        status, said = self.call(method, path, body)
        answered = time.time()
        if status != HTTPStatus.OK:
            raise RuntimeError(f"{method} {path} was answered {status}: {said}")
        return Trip(asked, answered, said.get("order_id")), said


class Trader(threading.Thread):
    """Trades on one account until the time has come."""

    def __init__(self, calls: Calls, account: UUID, until: float) -> None:
        super().__init__()
        self._calls, self._account, self._until = calls, account, until
        self.opened: list[Trip] = []
        self.closed: list[Trip] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self._until:
                trip, ticket = opened(self._calls, self._account)
                self.opened.append(trip)
                self.closed.append(closed(self._calls, self._account, ticket))
        except Exception as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def result(self) -> tuple[list[Trip], list[Trip]]:
        """Wait for the end; return what was opened, and what was closed."""
        self.join()
        if self._error:
            raise self._error
        return self.opened, self.closed


def opened(calls: Calls, account: UUID) -> tuple[Trip, str]:
    """Open a position; return its ticket too."""
    trip, said = calls.trip("POST", "/orders", {**_ORDER, "broker_connection_id": str(account)})
    return trip, said["position_id"]


def closed(calls: Calls, account: UUID, ticket: str) -> Trip:
    """Close a position."""
    path = f"/positions/{ticket}?broker_connection_id={account}"
    return calls.trip("DELETE", path)[0]


def warm(calls: Calls, account: UUID, times: int) -> None:
    """Wait until the account's agent is there, and trade a little."""
    path, deadline = f"/account?broker_connection_id={account}", time.monotonic() + _PATIENCE
    while (said := calls.call("GET", path))[0] != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the agent of {account} does not come: {said}")
        time.sleep(_AGAIN_SECONDS)
    for _ in range(times):
        closed(calls, account, opened(calls, account)[1])


def trade(
    address: str, token: str, accounts: Sequence[UUID], traders: int, seconds: float
) -> tuple[list[Trip], list[Trip]]:
    """Have so many trade at once, spread over the accounts; return what they opened and closed."""
    until = time.monotonic() + seconds
    all_of_them = [
        Trader(Calls(address, token), accounts[n % len(accounts)], until) for n in range(traders)
    ]
    for trader in all_of_them:
        trader.start()
    results = [trader.result() for trader in all_of_them]
    return [t for some, _ in results for t in some], [t for _, some in results for t in some]

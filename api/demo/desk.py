"""What the demo's parts share: users who place orders and ask, and the record of what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from api import commands
from api.demo.client import Answer, Client
from api.demo.crew import Crew
from api.demo.evidence import Conn, Event
from api.demo.orders import Order, Placed, place
from api.demo.plan import BURST, Plan
from api.demo.servers import wait_for
from api.demo.world import Agent, World

PATIENCE = 120.0  # for a machine that has much else to do; a quiet one needs a few seconds


class Desk:
    """Acts for the users, from any number of threads, and writes down what was said."""

    def __init__(self, world: World, conn: Conn, crew: Crew, plan: Plan) -> None:
        """`conn` has the rights of the service; it is for one thread."""
        self.world = world
        self.conn = conn
        self.crew = crew
        self.plan = plan
        self.threads = ThreadPoolExecutor(2 * BURST)
        self.placed: list[Placed] = []
        self.events: list[Event] = []
        self._lock = threading.Lock()

    def place(self, order: Order) -> Placed:
        """Place the order; returns when its end is known."""
        placed = place(self.world.owner(order.agent), order)
        with self._lock:
            self.placed.append(placed)
        return placed

    def place_all(self, orders: Iterable[Order]) -> list[Future[Placed]]:
        """Place the orders at once."""
        return [self.threads.submit(self.place, order) for order in orders]

    def client(self, agent: Agent) -> Client:
        """Return the owner's."""
        return self.world.owner(agent).client

    def ask(self, agent: Agent, what: str) -> Answer:
        """Ask about the agent's account."""
        sign = "&" if "?" in what else "?"
        account = f"{sign}broker_connection_id={agent.broker_connection_id}"
        answer, _ = self.client(agent).insist("GET", f"/api/v1/{what}{account}")
        return answer

    def positions(self, agent: Agent) -> list[dict[str, Any]]:
        """Return the account's positions as the service has them."""
        found: list[dict[str, Any]] = self.ask(agent, "positions").body
        return found

    def happened(self, words: str) -> None:
        """Say it, and write it down."""
        commands.say(words)
        self.events.append(Event(time.time(), words))

    def wait(self, fact: Callable[[], bool], what: str) -> None:
        """Wait for the fact; `Refused` where it does not come, or an agent ends by itself."""

        def look() -> bool:
            self.crew.check()
            return fact()

        wait_for(look, PATIENCE, what)


def finish(futures: Iterable[Future[Any]]) -> None:
    """Wait for all, and raise the first error."""
    for future in list(futures):
        future.result()

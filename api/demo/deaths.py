"""Deaths: an agent's and the service's, each while the broker has orders that nobody reported."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from forex_agent.simulated import clear, inject

from api.demo.alerts import late_alert
from api.demo.desk import Desk, finish
from api.demo.evidence import amid
from api.demo.orders import Order, Placed
from api.demo.plan import BURST, EXPIRES_SECONDS
from api.demo.servers import Service
from api.demo.tradingview import TradingView
from api.demo.world import Agent

LATE, LATE_SECONDS = 3, 2.0  # orders that the broker takes, does not answer and fills later
SURE_SECONDS = 0.4  # an order that was begun so long ago is at the broker
WAITING = 4  # orders that are put in while nobody is there to take them


class Deaths:
    """Kills with SIGKILL, and starts again; `kills` counts the orders that were under way."""

    def __init__(self, desk: Desk, service: Service, tradingview: TradingView) -> None:
        self._desk = desk
        self._service = service
        self._tradingview = tradingview
        self.kills: dict[str, int] = {}

    def of_agent(self, victim: Agent) -> None:
        """Kill an agent; the broker fills its orders behind its back.

        Of the orders that come while it is dead one expires; the others wait, as does an alert.
        """
        desk = self._desk
        burst = self._burst(victim, lambda: self._killed(victim))
        expired = desk.plan.order(victim, expires_in=EXPIRES_SECONDS, expected=("expired",))
        meanwhile = [expired, *desk.plan.burst(victim)[:WAITING]]
        burst += desk.place_all(meanwhile)
        desk.wait(lambda: all(map(self._known, meanwhile)), "the orders are put in")
        self._tradingview.post([late_alert(victim)])
        desk.crew.start(victim)
        desk.happened(f"{victim.name} is started again, and goes by its journal")
        finish(burst)
        self._tradingview.wait()

    def of_service(self, busy: Agent) -> None:
        """Kill the service that an agent's reports must reach; it comes back at its address."""
        burst = self._burst(busy, lambda: self._amid(busy)[0] > 0)
        self._service.kill()
        self._noted("the service", busy)
        self._service.start()
        self._desk.happened("the service is ready again, and everybody comes back")
        finish(burst)

    def _killed(self, victim: Agent) -> bool:
        """Kill unless it may be sending: what died before the broker had it, nobody could find."""
        if not self._desk.crew.kill(victim, lambda: self._waits(victim)):
            return False
        self._noted(victim.name, victim)
        return True

    def _waits(self, agent: Agent) -> bool:
        waiting, sending = self._amid(agent)
        return waiting > 0 and not sending

    def _amid(self, agent: Agent) -> tuple[int, int]:
        """Return how many orders the broker has for sure, and may be given just now."""
        return amid(self._desk.conn, agent.agent_id, SURE_SECONDS)

    def _noted(self, name: str, agent: Agent) -> None:
        self.kills[name] = sum(self._amid(agent))
        self._desk.happened(f"{name} is killed with SIGKILL amid {self.kills[name]} orders")

    def _known(self, order: Order) -> bool:
        """Whether the service has the order."""
        path = f"/api/v1/orders?client_order_id={order.key}"
        return bool(self._desk.client(order.agent).get(path))

    def _burst(self, agent: Agent, seen: Callable[[], bool]) -> list[Future[Placed]]:
        """Place orders at once until the fact is seen; the broker fills some of them late."""
        burst: list[Future[Placed]] = []

        def under_way() -> bool:
            if all(one.done() for one in burst):
                inject(agent.book_path, "late_fill", times=LATE, seconds=LATE_SECONDS)
                self._desk.happened(f"{BURST} orders at once for {agent.name}")
                burst.extend(self._desk.place_all(self._desk.plan.burst(agent)))
            return seen()

        self._desk.wait(under_way, f"{agent.name} is amid orders")
        clear(agent.book_path)
        return burst

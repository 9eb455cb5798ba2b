"""The order of things: jobs of all types, orders, an agent killed amid orders, then the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

from forex_agent.simulated import clear, inject, read_book

from api import commands
from api.demo.crew import Crew
from api.demo.evidence import Conn, Event, Job, amid, known_deals, look
from api.demo.orders import Order, Placed, place
from api.demo.plan import BURST, EXPIRES_SECONDS, Chain, Plan
from api.demo.servers import Service, wait_for
from api.demo.watch import Watch
from api.demo.world import FAST, Agent, World

PATIENCE = 120.0  # for a machine that has much else to do; a quiet one needs a few seconds
SPREAD, NEAR = 15.0, 1.5  # of its price: what lies between bid and ask, and how near a stop is
LATE, LATE_SECONDS = 3, 2.0  # orders that the broker takes, does not answer and fills later
WAITING = 4  # orders that are put in while nobody is there to take them


class Course:
    """Does all of it, and writes down what was asked for and what happened."""

    def __init__(self, service: Service, world: World, conn: Conn, crew: Crew, plan: Plan) -> None:
        self._service = service
        self._world = world
        self._conn = conn
        self._crew = crew
        self._plan = plan
        self._threads = ThreadPoolExecutor(2 * BURST)
        self._lock = threading.Lock()
        self.created: set[UUID] = set()
        self.ended: dict[UUID, Job] = {}
        self.placed: list[Placed] = []
        self.events: list[Event] = []
        self.kills: dict[str, int] = {}
        self.caches: list[str] = []
        self.quiet_until = 0.0

    def run(self, watch: Watch) -> None:
        """Go through all of it; returns when nothing is under way any more."""
        self._wait(self._online, "every agent says that it lives")
        self._wait(watch.connected, "every client sees prices")
        self._jobs()
        with self._threads:
            try:
                self._orders()
            except BaseException:
                self._world.close()  # or the threads would ask on
                raise

    def ask(self, agent: Agent) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the account's positions and its balance, as the service answers."""
        return self._get(agent, "positions"), self._get(agent, "account")

    # Jobs

    def _online(self) -> bool:
        return all(
            self._owner(agent).get(f"/api/v1/agents/{agent.agent_id}/status")["status"] == "online"
            for agent in self._world.agents
        )

    def _jobs(self) -> None:
        """Put in each chain's next job when the one before has ended, until all have."""
        self._happened("jobs of all types are put in")
        waiting: dict[UUID, Chain] = {}
        for chain in self._plan.chains():
            self._go_on(chain, waiting)
        users = [user.user_id for user in self._world.users]

        def over() -> bool:
            for job in look(self._conn, users).values():
                if job.over and job.job_id in waiting:
                    self.ended[job.job_id] = job
                    self._go_on(waiting.pop(job.job_id), waiting)
            return not waiting

        self._wait(over, "every job has ended")

    def _go_on(self, chain: Chain, waiting: dict[UUID, Chain]) -> None:
        if chain.steps:
            step = chain.steps.pop(0)
            body = {"job_type": step.job_type, **step.body}
            job_id = UUID(self._owner(chain.agent).made("/api/v1/jobs", body)["job_id"])
            self.created.add(job_id)
            waiting[job_id] = chain

    # Orders

    def _orders(self) -> None:
        self._happened("every account has orders, one after the other")
        _all(self._threads.submit(self._trade, agent) for agent in self._world.agents)
        self.quiet_until = time.time()
        self._kill_agent(self._plan.victim)
        self._kill_service(next(a for a in self._world.agents if a != self._plan.victim))
        self._end_stops()

    def _trade(self, agent: Agent) -> None:
        """One account's usual business: orders one after the other, closes, reads."""
        placed = [self._place(order) for order in self._plan.orders(agent)]
        inject(agent.book_path, "partial")
        self._place(self._plan.order(agent, volume=0.5, expected=("partially_filled",)))
        for number, opened in enumerate(placed[:2]):
            ticket = opened.last["position_id"]
            self._place(self._plan.close(agent, ticket, requests=1 + number))
        if FAST in agent.symbols:
            self._place_stops(agent)
        candles = f"candles/{agent.symbols[0]}?timeframe=M1&count="
        kept = [self._cached(agent, candles + count) for count in ("60", "30")]
        with self._lock:
            self.caches += kept

    def _place_stops(self, agent: Agent) -> None:
        """Buy and sell with stop-losses so near that one of them is hit soon."""
        for side, away in (("buy", -1), ("sell", 1)):
            status = "rejected"
            while status == "rejected":  # the price has moved past the stop: with a fresh one
                price = self._place(self._stop(agent, side)).last["fill_price"]
                stop = round(price + away * (SPREAD + NEAR), 2)
                order = self._stop(agent, side, sl=stop, expected=("filled", "rejected"))
                status = self._place(order).status

    def _stop(self, agent: Agent, side: str, **more: Any) -> Order:
        return self._plan.order(agent, symbol=FAST, side=side, volume=0.01, **more)

    def _end_stops(self) -> None:
        """Wait until a stop-loss was hit and told, and close the others."""
        watched = [agent for agent in self._world.agents if FAST in agent.symbols]
        self._wait(lambda: any(map(self._stopped, watched)), "a stop-loss was hit and told")
        self._happened("stop-losses were hit at the broker, and told by the reports of deals")
        for agent in watched:
            for position in self._get(agent, "positions"):
                if position["sl"] is not None:
                    expected = ("closed", "rejected")  # it may be hit meanwhile
                    self._place(self._plan.close(agent, position["ticket"], expected=expected))
        self._wait(lambda: all(map(self._told, self._world.agents)), "every deal is told")

    def _stopped(self, agent: Agent) -> bool:
        deals = known_deals(self._conn, agent)
        return any(reason == "sl" for _, reason in deals.values())

    def _told(self, agent: Agent) -> bool:
        """Whether the service knows of every deal in the terminal's book."""
        deals = {deal.deal_id for deal in read_book(agent.book_path).deals}
        return deals == known_deals(self._conn, agent).keys()

    # Deaths

    def _kill_agent(self, victim: Agent) -> None:
        """SIGKILL an agent while the broker has orders of it; it fills them behind its back.

        Of the orders that come while it is dead one expires, and the others wait.
        """
        burst = self._burst(victim, lambda: self._killed(victim))
        expired = self._plan.order(victim, expires_in=EXPIRES_SECONDS, expected=("expired",))
        meanwhile = [expired, *self._plan.burst(victim)[:WAITING]]
        burst += [self._threads.submit(self._place, order) for order in meanwhile]
        self._wait(lambda: all(map(self._known, meanwhile)), "the orders are put in")
        self._crew.start(victim)
        self._happened(f"{victim.name} is started again, and goes by its journal")
        _all(burst)

    def _killed(self, victim: Agent) -> bool:
        if not self._crew.kill(victim, lambda: self._amid(victim) > 0):
            return False
        self.kills[victim.name] = self._amid(victim)
        self._happened(
            f"{victim.name} is killed with SIGKILL, {self.kills[victim.name]} orders sent"
        )
        return True

    def _known(self, order: Order) -> bool:
        """Whether the service has the order."""
        path = f"/api/v1/orders?client_order_id={order.key}"
        return bool(self._owner(order.agent).get(path))

    def _kill_service(self, busy: Agent) -> None:
        """SIGKILL the service in the middle of orders, and start it again at its address."""
        burst = self._burst(busy, lambda: self._amid(busy) > 0)
        self._service.kill()
        self.kills["the service"] = self._amid(busy)
        self._happened(
            f"the service is killed with SIGKILL, {self.kills['the service']} orders sent"
        )
        self._service.start()
        self._happened("the service is ready again, and everybody comes back")
        _all(burst)

    def _burst(self, agent: Agent, seen: Callable[[], bool]) -> list[Future[Placed]]:
        """Place orders at once until the fact is seen; the broker fills some of them late."""
        burst: list[Future[Placed]] = []

        def under_way() -> bool:
            if all(one.done() for one in burst):
                inject(agent.book_path, "late_fill", times=LATE, seconds=LATE_SECONDS)
                self._happened(f"{BURST} orders at once for {agent.name}")
                orders = self._plan.burst(agent)
                burst.extend(self._threads.submit(self._place, order) for order in orders)
            return seen()

        self._wait(under_way, f"{agent.name} is amid orders")
        clear(agent.book_path)
        return burst

    def _amid(self, agent: Agent) -> int:
        """Return how many orders wait for the broker; 0 where the agent may be sending one now."""
        waiting, sending = amid(self._conn, agent.agent_id, LATE_SECONDS / 5)
        return 0 if sending else waiting

    # All of them

    def _place(self, order: Order) -> Placed:
        placed = place(self._world.owner(order.agent), order)
        with self._lock:
            self.placed.append(placed)
        return placed

    def _owner(self, agent: Agent) -> Any:
        return self._world.owner(agent).client

    def _get(self, agent: Agent, what: str) -> Any:
        sign = "&" if "?" in what else "?"
        account = f"{sign}broker_connection_id={agent.broker_connection_id}"
        return self._owner(agent).get(f"/api/v1/{what}{account}")

    def _cached(self, agent: Agent, what: str) -> str:
        """Return what the header says of where the answer came from."""
        account = f"&broker_connection_id={agent.broker_connection_id}"
        answer, _ = self._owner(agent).insist("GET", f"/api/v1/{what}{account}")
        return str(answer.headers.get("X-Cache"))

    def _happened(self, words: str) -> None:
        commands.say(words)
        self.events.append(Event(time.time(), words))

    def _wait(self, fact: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            self._crew.check()
            return fact()

        wait_for(look, PATIENCE, what)


def _all(futures: Iterable[Future[Any]]) -> None:
    """Wait for all, and raise the first error."""
    for future in list(futures):
        future.result()

"""The order of things: jobs of all types, alerts, orders, stop-losses, deaths."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any
from uuid import UUID

from forex_agent.simulated import inject, read_book

from api import commands
from api.demo.deaths import Deaths
from api.demo.desk import Desk, finish
from api.demo.evidence import Job, known_deals, look
from api.demo.orders import Order, Placed
from api.demo.plan import Chain
from api.demo.servers import Service
from api.demo.tradingview import TradingView
from api.demo.watch import Watch
from api.demo.world import FAST, Agent

SPREAD, NEAR = 15.0, 1.5  # of its price: what lies between bid and ask, and how near a stop is


def _filled(placed: Placed) -> dict[str, Any]:
    """Return the order; `Refused` where it is not filled, as what follows needs it."""
    if placed.status != "filled":
        name = f"{placed.order.agent.name}'s {placed.order.words}"
        raise commands.Refused(f"{name} is {placed.status}: {placed.last.get('message')}")
    return placed.last


class Course:
    """Goes through all of it; what it leaves is for the proofs."""

    def __init__(self, desk: Desk, service: Service) -> None:
        self._desk = desk
        self._agents = desk.world.agents
        self.tradingview = TradingView(desk)
        self._deaths = Deaths(desk, service, self.tradingview)
        self.kills = self._deaths.kills
        self.created: set[UUID] = set()
        self.ended: dict[UUID, Job] = {}
        self.caches: list[str] = []
        self.quiet_until = 0.0

    def run(self, watch: Watch) -> None:
        """Return when nothing is under way any more."""
        self._desk.wait(self._online, "every agent says that it lives")
        self._desk.wait(watch.connected, "every client sees prices")
        self._jobs()
        with closing(self.tradingview), self._desk.threads:
            try:
                self.tradingview.run()
                self._orders()
            except BaseException:
                self._desk.world.close()  # or the threads would ask on
                raise

    def _online(self) -> bool:
        return all(
            self._desk.client(agent).get(f"/api/v1/agents/{agent.agent_id}/status")["status"]
            == "online"
            for agent in self._agents
        )

    # Jobs

    def _jobs(self) -> None:
        """Put in each chain's next job when the one before has ended, until all have."""
        self._desk.happened("jobs of all types are put in")
        waiting: dict[UUID, Chain] = {}
        for chain in self._desk.plan.chains():
            self._go_on(chain, waiting)
        users = [user.user_id for user in self._desk.world.users]

        def over() -> bool:
            for job in look(self._desk.conn, users).values():
                if job.over and job.job_id in waiting:
                    self.ended[job.job_id] = job
                    self._go_on(waiting.pop(job.job_id), waiting)
            return not waiting

        self._desk.wait(over, "every job has ended")

    def _go_on(self, chain: Chain, waiting: dict[UUID, Chain]) -> None:
        if chain.steps:
            step = chain.steps.pop(0)
            body = {"job_type": step.job_type, **step.body}
            job_id = UUID(self._desk.client(chain.agent).made("/api/v1/jobs", body)["job_id"])
            self.created.add(job_id)
            waiting[job_id] = chain

    # Orders

    def _orders(self) -> None:
        self._desk.happened("every account has orders, one after the other")
        finish([self._desk.threads.submit(self._trade, agent) for agent in self._agents])
        self.quiet_until = time.time()
        victim = self._desk.plan.victim
        self._deaths.of_agent(victim)
        self._deaths.of_service(next(agent for agent in self._agents if agent != victim))
        self._end_stops()

    def _trade(self, agent: Agent) -> None:
        """One account's usual business: orders one after the other, closes, candles."""
        plan = self._desk.plan
        placed = [self._desk.place(order) for order in plan.orders(agent)]
        inject(agent.book_path, "partial")
        self._desk.place(plan.order(agent, volume=0.5, expected=("partially_filled",)))
        for number, opened in enumerate(placed[:2]):
            ticket = _filled(opened)["position_id"]
            self._desk.place(plan.close(agent, ticket, requests=1 + number))
        if FAST in agent.symbols:
            self._place_stops(agent)
        candles = f"candles/{agent.symbols[0]}?timeframe=M1&count="
        answers = [self._desk.ask(agent, candles + count) for count in ("60", "30")]
        self.caches.extend([str(answer.headers.get("X-Cache")) for answer in answers])

    # Stop-losses

    def _place_stops(self, agent: Agent) -> None:
        """Buy and sell with stop-losses so near that one of them is hit soon."""
        for side, away in (("buy", -1), ("sell", 1)):
            status = "rejected"
            while status == "rejected":  # the price has moved past the stop: with a fresh one
                price = _filled(self._desk.place(self._fast(agent, side)))["fill_price"]
                stop = round(price + away * (SPREAD + NEAR), 2)
                order = self._fast(agent, side, sl=stop, expected=("filled", "rejected"))
                status = self._desk.place(order).status

    def _fast(self, agent: Agent, side: str, **more: Any) -> Order:
        return self._desk.plan.order(agent, symbol=FAST, side=side, volume=0.01, **more)

    def _end_stops(self) -> None:
        """Wait until a stop-loss was hit and told, and close the others."""
        stopped = [agent for agent in self._agents if FAST in agent.symbols]
        self._desk.wait(lambda: any(map(self._stopped, stopped)), "a stop-loss was hit and told")
        self._desk.happened("stop-losses were hit at the broker, and told by reports of deals")
        for agent in stopped:
            for position in self._desk.positions(agent):
                if position["sl"] is not None:
                    expected = ("closed", "rejected")  # it may be hit meanwhile
                    order = self._desk.plan.close(agent, position["ticket"], expected=expected)
                    self._desk.place(order)
        self._desk.wait(lambda: all(map(self._told, self._agents)), "every deal is told")

    def _stopped(self, agent: Agent) -> bool:
        deals = known_deals(self._desk.conn, agent)
        return any(reason == "sl" for _, reason in deals.values())

    def _told(self, agent: Agent) -> bool:
        """Whether the service knows of every deal in the terminal's book."""
        deals = {deal.deal_id for deal in read_book(agent.book_path).deals}
        return deals == known_deals(self._desk.conn, agent).keys()

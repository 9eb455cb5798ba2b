"""The demo: bring everything up, go through the course, collect what is left, prove."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg
from forex_agent.simulated import read_book

from api import commands
from api.agent_process import market_data
from api.demo.course import Course
from api.demo.crew import Crew
from api.demo.desk import Desk
from api.demo.evidence import Account, Conn, Evidence, Job, daily_pnl, known_deals, look
from api.demo.plan import Plan
from api.demo.proof import prove
from api.demo.report import Result, summary
from api.demo.servers import Platform, platform
from api.demo.tradingview import kept_of, known_signals
from api.demo.watch import Watch
from api.demo.world import Parents, World, make_world


def run_demo(environment: Mapping[str, str] = os.environ, *, seed: int = 1) -> Result:
    """Run the demo; raises `Refused` where it cannot go on, and nothing for a proof that fails."""
    began = time.monotonic()
    data = market_data(environment)
    try:
        with platform(environment) as running:
            commands.say("two users, their broker accounts and three agents")
            world = make_world(running, seed, data)
            with closing(world), _connection(running) as conn:
                evidence = _work(running, world, conn, seed)
    except psycopg.Error as error:
        raise commands.Refused(str(error)) from error
    return summary(evidence, prove(evidence), time.monotonic() - began)


@contextmanager
def _connection(running: Platform) -> Iterator[Conn]:
    """Yield a connection with the rights of the service."""
    with psycopg.connect(running.database_url, autocommit=True) as conn:
        conn.execute("set role service_role")
        yield conn


def _work(running: Platform, world: World, conn: Conn, seed: int) -> Evidence:
    plan = Plan(world.agents, Parents(conn), seed)
    with Crew(running, world) as crew:
        with Watch(running.url, world) as watch:
            desk = Desk(world, conn, crew, plan)
            course = Course(desk, running.service)
            course.run(watch)
        positions = [desk.positions(agent) for agent in world.agents]
        signals = [signal for user in world.users for signal in known_signals(user)]
        balances = [desk.ask(agent, "account").body for agent in world.agents]
    # The agents are gone, so nothing that they left changes any more.
    jobs = look(conn, [user.user_id for user in world.users])
    strangers = {alert.payload["id"] for alert in course.tradingview.strangers()}
    return Evidence(
        accounts=[
            Account(
                agent=agent,
                book=read_book(agent.book_path),
                deals=known_deals(conn, agent),
                pnl=daily_pnl(conn, agent),
                positions=held,
                balance=balance,
            )
            for agent, held, balance in zip(world.agents, positions, balances, strict=True)
        ],
        created=course.created,
        jobs={job_id: _with_parent_then(job, course) for job_id, job in jobs.items()},
        placed=desk.placed,
        posted=course.tradingview.posted,
        signals=signals,
        strangers=kept_of(conn, strangers),
        watchers=watch.watchers,
        events=desk.events,
        quiet_until=course.quiet_until,
        kills=course.kills,
        caches=course.caches,
        logs=running.service.log.read_text(errors="replace") + crew.log(),
        secrets=world.secrets,
    )


def _with_parent_then(job: Job, course: Course) -> Job:
    """Return the job with its parent as it was at the job's end, before the next one's."""
    then = course.ended.get(job.job_id, job)
    return replace(
        job,
        parent_state=then.parent_state,
        parent_error=then.parent_error,
    )

"""Does to the crew, the connections and the server what the plan says, when it says so."""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from jobengine.embedded import EmbeddedPostgres
from tests.chaos.crew import Actor, Crew
from tests.chaos.host import LEASE_SECONDS
from tests.chaos.plan import Fault, Plan
from tests.chaos.proxy import Proxy

T = TypeVar("T")
CLIENTS = """select pid from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid() order by pid"""
LISTENERS = "select pid from pg_stat_activity where query = 'listen jobengine' order by pid"
HOLDS = "select count(*) as n from jobengine.lease where agent_id = %s"
SOME_ROWS = {
    "parent": "select 1 from public.parent order by name desc limit 200 for update skip locked",
    "lease": "select 1 from jobengine.lease limit 20 for update skip locked",
}
SAY_SECONDS = 30
TRIES = 20  # to find somebody who holds work


@dataclass(slots=True)
class Nemesis:
    """Carries a plan out; a fault that finds no victim is skipped and not counted."""

    plan: Plan
    crew: Crew
    proxy: Proxy
    server: EmbeddedPostgres
    admin_url: str
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    interruptions: list[tuple[str, float]] = field(default_factory=list)
    later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    began: float = 0.0

    def run(self) -> None:
        """Let it happen, then put everything right again."""
        self.began = time.monotonic()
        done_at = 0.0
        for fault in self.plan.faults:
            self._wait(fault.at - done_at)
            self.crew.look_after(self.crew.actors)
            self._do(fault)
            if fault.at // SAY_SECONDS > done_at // SAY_SECONDS:
                self.say(f"{fault.at:.0f} of {self.plan.seconds:g} s, {self.done.total()} faults")
            done_at = fault.at
        self._wait(self.plan.seconds - done_at)
        self.proxy.pass_all()
        self.server.start()
        while self.later:
            heapq.heappop(self.later)[2]()

    def _do(self, fault: Fault) -> None:
        began = time.monotonic()
        act: Callable[[Fault], bool | None] = getattr(self, f"_{fault.kind}")
        try:
            happened = act(fault) is not False
        except psycopg.Error:  # the server is still down from the fault before
            happened = False
        self.done[fault.kind] += happened
        took = f"{began - self.began:8.2f} s  {fault.kind:<13} {time.monotonic() - began:.2f} s"
        chosen = f"who {fault.who:.3f}, length {fault.length:.3f}"
        self.log.append(f"{took}  {chosen}{'' if happened else ', no victim'}")

    def _wait(self, seconds: float) -> None:
        """Wait, and do meanwhile what is due."""
        moment = time.monotonic() + seconds
        while self.later and self.later[0][0] <= moment:
            due, _, action = heapq.heappop(self.later)
            time.sleep(max(0.0, due - time.monotonic()))
            action()
        time.sleep(max(0.0, moment - time.monotonic()))

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.later, (time.monotonic() + seconds, len(self.log), action))

    @contextlib.contextmanager
    def _admin(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(
            self.admin_url, autocommit=True, row_factory=dict_row, connect_timeout=5
        ) as conn:
            yield conn

    def _interrupts(self, kind: str) -> None:
        """Work stands still from here on, until somebody finishes a job again."""
        self.interruptions.append((kind, time.monotonic()))

    # Actors

    def _kill(self, fault: Fault) -> None:
        self.crew.kill(_pick(self.crew.of("worker", "agent", "steward"), fault.who))

    def _kill_producer(self, fault: Fault) -> None:
        self.crew.kill(_pick(self.crew.of("producer"), fault.who))

    def _kill_all(self, _: Fault) -> None:
        self._interrupts("kill_all")
        for actor in self.crew.of("worker", "agent"):
            self.crew.kill(actor)

    def _pause(self, fault: Fault) -> bool:
        """Stop somebody who holds work, for longer than his lease."""
        running = [a for a in self.crew.of("worker", "agent") if not a.paused]
        with self._admin() as admin:
            for attempt in range(TRIES if len(running) > 1 else 0):
                actor = running[(int(fault.who * len(running)) + attempt) % len(running)]
                self.crew.pause(actor)
                row = admin.execute(HOLDS, (actor.name,)).fetchone()
                if row and row["n"]:
                    self._resume_after((1.2 + 1.8 * fault.length) * LEASE_SECONDS, actor)
                    return True
                self.crew.resume(actor)
                time.sleep(0.01)
        return False

    def _resume_after(self, seconds: float, actor: Actor) -> None:
        process = actor.process
        self._after(seconds, lambda: self.crew.resume(actor) if actor.process is process else None)

    # Connections

    def _terminate(self, fault: Fault) -> bool:
        return self._terminate_some(CLIENTS, fault.who, 3)

    def _listener(self, fault: Fault) -> bool:
        return self._terminate_some(LISTENERS, fault.who, 1)

    def _terminate_some(self, query: str, who: float, count: int) -> bool:
        with self._admin() as admin:
            pids = [row["pid"] for row in admin.execute(query.encode()).fetchall()]
            first = int(who * len(pids))
            for pid in (pids + pids)[first : first + min(count, len(pids))]:
                admin.execute("select pg_terminate_backend(%s)", (pid,))
        return bool(pids)

    def _reset(self, fault: Fault) -> None:
        self.proxy.reset(0.2 + 0.8 * fault.length)

    def _stall(self, fault: Fault) -> None:
        self.proxy.stall(0.2 + 1.8 * fault.length)

    def _trickle(self, fault: Fault) -> None:
        self.proxy.trickle(0.2 + 0.8 * fault.length)

    def _refuse(self, fault: Fault) -> None:
        self.proxy.refuse(0.3 + 1.2 * fault.length)

    # The server

    def _crash(self, fault: Fault) -> bool:
        """SIGKILL a backend: the server ends all others and recovers by itself."""
        with self._admin() as admin:
            pids = [row["pid"] for row in admin.execute(CLIENTS).fetchall()]
        if pids:
            self._interrupts("crash")
            with contextlib.suppress(ProcessLookupError):
                os.kill(_pick(pids, fault.who), signal.SIGKILL)
        return bool(pids)

    def _immediate(self, _: Fault) -> None:
        self._interrupts("immediate")
        self.server.restart("immediate")

    def _fast(self, _: Fault) -> None:
        self._interrupts("fast")
        self.server.restart("fast")

    def _postmaster(self, _: Fault) -> None:
        self._interrupts("postmaster")
        self.server.kill()
        self.server.start()

    # Rows

    def _hold_parents(self, fault: Fault) -> None:
        """Longer than the 2 s that a settle waits: the end is recorded, its effect follows."""
        self._hold("parent", 2.2 + 0.8 * fault.length)

    def _hold_leases(self, fault: Fault) -> None:
        self._hold("lease", 0.2 + 0.8 * fault.length)

    def _hold(self, table: str, seconds: float) -> None:
        conn = psycopg.connect(self.admin_url, connect_timeout=5)
        conn.execute(SOME_ROWS[table].encode())
        self._after(seconds, conn.close)


def _pick(choice: Sequence[T], who: float) -> T:
    return choice[int(who * len(choice))]

"""Takes alerts in: into the database at once, or into Redis until the database answers again.

An alert has an id from the moment it comes. The database decides an id once, so an attempt whose
outcome is not known is simply made again, by this process or whichever drains. While any alert
waits in Redis, those that come wait behind it: a close must not overtake what it closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg

from api import alerts, calls
from api.database import Pool, as_service
from api.errors import from_error
from api.limits import Failures, Rate
from api.metrics import Metrics
from api.records import Decision
from api.spool import Kept, Spool, SpoolUnavailable

log = logging.getLogger("api.webhooks")

CONNECTION_SECONDS = 0.2  # for a connection: who waits longer waits for a server that is gone
PATIENT_SECONDS = 0.8  # where there is nowhere else to go
DIRECT_SECONDS = 1.0  # what an alert may wait for the database; TradingView waits three
IDLE_SECONDS = 0.5
AGAIN_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
REFRESH_SECONDS = 30.0
BATCH = 50  # alerts in one transaction of the drain
RECENT = 128
TYPICAL_SECONDS = 0.004  # before the first alert came


class Taken(Enum):
    """What became of an alert, for whoever sent it: all but `LOST` is accepted.

    `FLOODED` is beyond twice what a secret may send in a minute: it is counted, and not kept.
    `BARRED` has an unknown secret, and comes from where too many such came from: the database is
    not asked.
    """

    DECIDED = "decided"
    SPOOLED = "spooled"
    UNKNOWN = "unknown"
    FLOODED = "flooded"
    BARRED = "barred"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An alert as it came.

    `came` is when, by this process's monotonic clock: the database is told how long ago that is,
    and counts from its own clock. `received_at` is for people who look into the spool, nobody
    judges by it: the clock of this machine may be minutes off.
    """

    signal_id: UUID
    digest: bytes
    came: float
    received_at: datetime
    source: str | None
    body: str
    limited: bool = False  # beyond what its secret may send in a minute

    @property
    def age(self) -> float:
        """Return how long ago it came, in seconds."""
        return time.monotonic() - self.came

    def packed(self) -> bytes:
        """Return it as the spool is given it, which adds the time; the secret is not in it."""
        return orjson.dumps(
            {
                "signal_id": self.signal_id,
                "digest": self.digest.hex(),
                "received_at": self.received_at,
                "age": self.age,
                "source": self.source,
                "body": self.body,
                "limited": self.limited,
            }
        )

    @classmethod
    def unpacked(cls, entry: bytes, now: float) -> Incoming:
        """Return what the spool kept; `now` is the spool's time, in seconds since 1970."""
        found = orjson.loads(entry)
        received_at = datetime.fromisoformat(found["received_at"])
        # What an older version of the service kept has no time but its own machine's.
        waited = now - found.get("kept_at", received_at.timestamp())
        return cls(
            signal_id=UUID(found["signal_id"]),
            digest=bytes.fromhex(found["digest"]),
            came=time.monotonic() - found.get("age", 0.0) - max(0.0, waited),
            received_at=received_at,
            source=found["source"],
            body=found["body"],
            limited=found.get("limited", False),
        )

    def arguments(self) -> dict[str, Any]:
        """Return what `signal_receive` is told."""
        alert = alerts.read(self.body)
        return {
            "secret_digest": self.digest,
            "signal_id": self.signal_id,
            "age": self.age,
            "source_ip": self.source,
            "payload": orjson.dumps(alert.payload).decode(),
            "dedup_key": alert.dedup_key,
            "symbol": alert.symbol,
            "action": alert.action,
            "volume": alert.volume,
            "sl": alert.sl,
            "tp": alert.tp,
            "price": alert.price,
            "rate_limited": self.limited,
        }


def incoming(digest: bytes, source: str | None, body: str) -> Incoming:
    """Return an alert that comes now."""
    return Incoming(
        signal_id=uuid4(),
        digest=digest,
        came=time.monotonic(),
        received_at=datetime.now(UTC),
        source=source,
        body=body,
    )


class Pace:
    """How long alerts with a known secret take; those with another are answered no sooner."""

    def __init__(self) -> None:
        self._recent = deque([TYPICAL_SECONDS], RECENT)

    def note(self, seconds: float) -> None:
        self._recent.append(seconds)

    async def keep(self, began: float) -> None:
        """Return after a time that an alert with a known secret has taken lately."""
        typical = random.choice(self._recent)  # noqa: S311 - a time, no secret
        await asyncio.sleep(max(0.0, typical - (time.monotonic() - began)))


class Intake:
    """Takes alerts in, and drains the spool; one per process."""

    def __init__(
        self, pool: Pool, spool: Spool, metrics: Metrics, *, per_minute: int, failures: int
    ) -> None:
        """A secret may send so many alerts a minute that open, and as many that close; 0: any.

        An address may name so many unknown secrets a minute at the cost of a look at the database.
        """
        self._pool = pool
        self._spool = spool
        self._metrics = metrics
        self._pace = Pace()
        self._rate = Rate(per_minute)
        self._failures = Failures(failures)
        self._taught = False  # whether the known secrets have been read since the start
        self._name = uuid4().hex
        self._spooling = True  # until a look at the list: another process may have filled it
        self._look = asyncio.Event()
        self._begun = self._keeping = 0  # how many alerts were put into the list, and are being
        self._late: set[asyncio.Task[Any]] = set()

    async def take(self, alert: Incoming) -> Taken:
        """Take an alert in; it is decided or on disk when this returns, unless it is `LOST`."""
        began = time.monotonic()
        taken = Taken.BARRED if await self._barred(alert) else await self._within_rate(alert)
        if taken is Taken.UNKNOWN:
            self._failures.add(str(alert.source))
        if taken in {Taken.UNKNOWN, Taken.FLOODED, Taken.BARRED}:
            await self._pace.keep(began)
        else:
            self._pace.note(time.monotonic() - began)
        self._metrics.alerts[taken.value] += 1
        return taken

    async def _barred(self, alert: Incoming) -> bool:
        """Tell whether to take the secret for nobody's: too many such came from this address.

        One that is known passes: TradingView's addresses are everybody's.
        """
        if not (self._taught and self._failures.wait(str(alert.source))):
            return False
        try:
            return not await self._spool.knows(alert.digest)
        except SpoolUnavailable:
            return False

    async def _within_rate(self, alert: Incoming) -> Taken:
        """Closing has an allowance of its own: no flood of orders may keep a position open.

        As many again say that they are too many, so a flood writes so much and no more.
        """
        action = alerts.read(alert.body).action or ""
        name = f"{alert.digest.hex()} {'closes' if action.startswith('close') else 'opens'}"
        over = self._rate.over(name)
        if over > 1:
            return Taken.FLOODED
        taken = await self._taken(replace(alert, limited=over == 1))
        if taken in {Taken.DECIDED, Taken.SPOOLED}:  # nobody's secrets are not remembered
            self._rate.add(name)
        return taken

    async def _taken(self, alert: Incoming) -> Taken:
        if not self._spooling:
            decision = await self._directly(alert)
            if decision is not None:
                return Taken.DECIDED if decision.known else Taken.UNKNOWN
        return await self._spooled(alert)

    async def _directly(
        self, alert: Incoming, connection_seconds: float = CONNECTION_SECONDS
    ) -> Decision | None:
        """Ask the database, for a moment; None: it did not answer, and may yet do it."""
        attempt = self._task(self._decide(alert, connection_seconds))
        done, _ = await asyncio.wait({attempt}, timeout=DIRECT_SECONDS)
        if not done:
            attempt.cancel()
            return None
        try:
            return attempt.result()
        except Exception as error:
            if not _waits(error):
                log.exception("an alert was not decided")
            return None

    def _task(self, work: Coroutine[Any, Any, Decision]) -> asyncio.Task[Decision]:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Decision]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever waited has gone

    async def _decide(self, alert: Incoming, connection_seconds: float) -> Decision:
        async with self._pool.connection(connection_seconds) as conn:
            return await calls.signal_receive(conn, alert=alert.arguments())

    async def _spooled(self, alert: Incoming) -> Taken:
        self._begun += 1
        self._keeping += 1
        try:
            kept = await self._spool.keep(alert.digest, alert.packed())
        except SpoolUnavailable as error:
            return await self._last_resort(alert, error)
        finally:
            self._keeping -= 1
        if kept is Kept.UNKNOWN:
            return Taken.UNKNOWN
        self._spooling = True
        self._look.set()
        return Taken.SPOOLED

    async def _last_resort(self, alert: Incoming, error: SpoolUnavailable) -> Taken:
        """Without Redis nothing waits in it: ask the database, in whatever order.

        Again, if it was asked before: it may have been busy.
        """
        decision = await self._directly(alert, PATIENT_SECONDS)
        if decision is None:
            log.error("an alert is lost: neither PostgreSQL nor Redis answers: %s", error)
            return Taken.LOST
        return Taken.DECIDED if decision.known else Taken.UNKNOWN

    # What runs besides

    async def drain(self) -> None:
        """Bring what waits into the database, oldest first, for ever."""
        pause = AGAIN_SECONDS
        while True:
            self._look.clear()
            if await self._drained():
                pause = AGAIN_SECONDS
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), IDLE_SECONDS)
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _drained(self) -> bool:
        """Empty the list; False: it is not empty, as the database or another process is busy."""
        try:
            if await self._empty():
                return True
            if not await self._spool.hold(self._name):
                return False
            await self._emptied()
            await self._spool.free(self._name)
        except SpoolUnavailable as error:
            log.warning("the spool does not answer: %s", error)
            self._spooling = False  # nothing can wait there now
            return False
        except psycopg.Error as error:
            log.warning("alerts wait for the database: %s", type(error).__name__)
            return False
        # What was kept meanwhile is seen in the next look, which comes at once.
        self._look.set()
        return True

    async def _empty(self) -> bool:
        """Tell whether nothing waits; only a look that nobody crossed lets alerts pass it by."""
        quiet, begun = self._keeping == 0, self._begun
        empty = await self._spool.length() == 0
        if not empty or (quiet and begun == self._begun):
            self._spooling = not empty
        return empty

    async def _emptied(self) -> None:
        while entries := await self._spool.first(BATCH):
            await self._replayed(entries)
            await self._spool.hold(self._name)

    async def _replayed(self, entries: Sequence[bytes]) -> None:
        try:
            await self._decide_all(entries)
        except Exception as error:
            if _waits(error):
                raise
            await self._one_by_one(entries)
            return
        await self._spool.drop(entries)

    async def _one_by_one(self, entries: Sequence[bytes]) -> None:
        """Decide them each alone, and put aside what cannot be decided."""
        for entry in entries:
            try:
                await self._decide_all([entry])
            except Exception as error:
                if _waits(error):
                    raise
                log.exception("an alert was put aside: it cannot be decided")
                await self._spool.fail(entry)
            else:
                await self._spool.drop([entry])

    async def _decide_all(self, entries: Sequence[bytes]) -> None:
        now = await self._spool.now()
        waiting = [Incoming.unpacked(entry, now) for entry in entries]
        async with as_service(self._pool) as conn:
            await calls.signals_receive(conn, alerts=[alert.arguments() for alert in waiting])
        self._metrics.alerts["drained"] += len(entries)

    async def refresh(self) -> None:
        """Keep the set of known secrets as the database has it, for ever."""
        while True:
            try:
                await self._refreshed()
                await asyncio.sleep(REFRESH_SECONDS)
            except (SpoolUnavailable, psycopg.Error) as error:
                log.warning("the known secrets wait: %s", type(error).__name__)
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    async def _refreshed(self) -> None:
        """A secret that is learned between the two looks is in neither, so it stays."""
        before = await self._spool.known()
        async with as_service(self._pool) as conn:
            digests = await calls.strategy_secrets(conn)
        await self._spool.learn(digests)
        await self._spool.unlearn(before - {digest.hex() for digest in digests})
        self._taught = True

    async def learned(self, digest: bytes) -> None:
        """Take alerts with this secret, also while the database is away."""
        try:
            await self._spool.learn([digest])
        except SpoolUnavailable as error:
            log.warning("a new secret is not known to the spool yet: %s", error)


def _waits(error: Exception) -> bool:
    """Tell whether it is the database's state, not the alert, so that the same may succeed later.

    It is away, in somebody's way, or cannot write (a standby, a full disk); or our functions are
    not there yet, or not ours to call: an installation that is not finished.
    """
    if (found := from_error(error)) is not None and found.status >= 500:  # noqa: PLR2004
        return True
    state = (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
    return state[:2] in {"25", "3D", "3F", "42", "53", "55", "57", "58"}

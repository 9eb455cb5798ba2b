"""How a worker that finds no job waits: shortly at first, then in `waiting`, where it is notified.

Who stands in `waiting` costs every enqueue a NOTIFY, which serializes commits: who has much to do
leaves. Who has little to do keeps his place, also while his jobs run: to leave it and come back
took two statements and 6 ms of pauses per job.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from uuid import UUID, uuid4

from jobengine._meter import Meter
from jobengine._retrying import jittered, note_retry
from jobengine.claimer import Claimer
from jobengine.errors import EngineError

# Who does not stand in `waiting` asks again after these pauses before he goes there: a worker that
# is idle for a moment costs nobody a NOTIFY. Pauses of 50 ms in all delayed a job in every gap of
# 50 ms: p50 14 ms from its commit to its handler at 20 jobs/s.
_PAUSES = (0.002, 0.004)
# Who has not rested for so long has much to do; a job and the looks after it take less, also where
# the server is 10 ms away. A rest is at least so long.
_BUSY_AFTER = 0.05
_REST_LEAST = 0.001
# A place is kept for so many polls: after a crash everybody's enqueues notify for so long.
_POLLS_PER_PLACE = 2


class Rest:
    """Where a worker waits between claims; to be used by one task, but for `ring` and `lost`."""

    def __init__(self, claimer: Claimer, *, poll: float, meter: Meter | None) -> None:
        """`poll` bounds a rest, in seconds: what a lost notification costs."""
        self._claimer = claimer
        self._poll = poll
        self._meter = meter
        self._bell = Bell()
        self._empty = 0  # claims that brought nothing, since one brought something
        self._place: UUID | None = None
        self._place_ends = 0.0
        self._awake_since = 0.0

    @property
    def asleep(self) -> bool:
        """Whether only a ring, a scheduled job, the next look or the poll ends the wait."""
        return self._stands and self._bell.awaited

    def ring(self) -> None:
        """End the wait, or the next one: a job may have come, or the worker is to stop."""
        self._bell.ring()

    def lost(self) -> None:
        """Do the same where nobody listened for a while: the place may be gone with a server."""
        self._place = None
        self.ring()

    def hush(self) -> None:
        """Begin to claim: what has rung until now will be found."""
        self._bell.hush()

    async def claimed(self) -> None:
        """Note a claim that brought jobs."""
        self._empty = 0
        if self._busy:
            await self.leave()

    async def wait(self) -> None:
        """Wait, after a claim that brought nothing, until another may bring something."""
        self._empty += 1
        try:
            if self._busy:
                await self.leave()
                self._empty = 1
            if self._stands:
                await self._sleep()
            elif self._empty <= len(_PAUSES):
                await self._bell.heard(_PAUSES[self._empty - 1])
            else:
                await self._stand()
        except EngineError as error:
            note_retry("idle", error, self._poll, self._meter)
            self._place = None
            await self._bell.heard(self._poll)

    async def leave(self) -> None:
        """Be notified no more; where PostgreSQL is away the place ends by itself."""
        place, self._place = self._place, None
        if place is not None:
            with contextlib.suppress(EngineError):
                await self._claimer.rouse(place)

    @property
    def _stands(self) -> bool:
        return self._place is not None and time.monotonic() < self._place_ends

    @property
    def _busy(self) -> bool:
        """Whether it stands in `waiting` and has too much to do for that."""
        return self._stands and time.monotonic() - self._awake_since > _BUSY_AFTER

    async def _stand(self) -> None:
        """Take a place. Claim once more then: a job committed before it notified nobody."""
        await self.leave()  # one that has ended
        place, now = uuid4(), time.monotonic()
        seconds = _POLLS_PER_PLACE * self._poll
        await self._claimer.doze(place, seconds)
        self._place, self._place_ends, self._awake_since = place, now + seconds, time.monotonic()

    async def _sleep(self) -> None:
        longest = min(jittered(self._poll, 0.2), self._place_ends - time.monotonic())
        seconds = await self._claimer.seconds_to_sleep(longest)
        began = time.monotonic()
        await self._bell.heard(seconds)
        if (now := time.monotonic()) - began >= _REST_LEAST:
            self._awake_since = now


class Bell:
    """Wakes one task, one step of the loop after it rings; an `asyncio.wait` takes three."""

    def __init__(self) -> None:
        """It has not rung."""
        self._rung = False
        self._heard: asyncio.Future[None] | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for it."""
        return self._heard is not None

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._rung = True
        _set(self._heard)

    def hush(self) -> None:
        """Forget that it rang."""
        self._rung = False

    async def heard(self, seconds: float) -> None:
        """Wait until it rings, unless it has, and for so many seconds at most."""
        if self._rung or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        self._heard = loop.create_future()
        timer = loop.call_later(seconds, _set, self._heard)
        try:
            await self._heard
        finally:
            timer.cancel()
            self._heard = None


def _set(heard: asyncio.Future[None] | None) -> None:
    if heard is not None and not heard.done():
        heard.set_result(None)

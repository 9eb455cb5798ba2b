"""One listening connection per engine: tells sleepers that jobs came and waiters that jobs ended.

Notifications are hints. One that is lost costs a bounded poll, never a job: everybody who sleeps
here also looks for himself from time to time, and a connection that comes back wakes everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

import orjson
import psycopg

from jobengine import logs
from jobengine._cancelling import cancelled
from jobengine._meter import Meter
from jobengine._retrying import backoffs
from jobengine.claimer import Connect
from jobengine.errors import EngineError

log = logging.getLogger("jobengine.wakeup")

# Called with the tenant and queue of a new job, or with (None, None): something may have come.
OnJob: TypeAlias = Callable[[UUID | None, str | None], None]


def _pauses() -> Iterator[float]:
    return backoffs(0.1, 5.0)


class Wakeup:
    """Listens once anybody is interested; connects again, with backoff, after an outage."""

    def __init__(self, connect: Connect, meter: Meter | None = None) -> None:
        """Nothing is opened before the first interest."""
        self._connect = connect
        self._meter = meter
        self._lost = False
        self._task: asyncio.Task[None] | None = None
        self._on_job: set[OnJob] = set()
        self._on_end: dict[UUID, set[asyncio.Event]] = {}

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await cancelled(self._task)
            self._task = None

    @contextlib.contextmanager
    def jobs(self, on_job: OnJob) -> Iterator[None]:
        """Call `on_job` whenever a job may have come."""
        self._listen()
        self._on_job.add(on_job)
        try:
            yield
        finally:
            self._on_job.discard(on_job)

    @contextlib.contextmanager
    def end(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the job may have ended."""
        self._listen()
        event = asyncio.Event()
        self._on_end.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._on_end[job_id].discard(event)
            if not self._on_end[job_id]:
                del self._on_end[job_id]

    def _listen(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="jobengine-wakeup")

    async def _run(self) -> None:
        pauses = _pauses()
        while True:
            lost: Exception | None = None
            try:
                async with self._listening() as conn:
                    pauses = _pauses()
                    self._is_back()
                    self._wake_all()
                    async for notification in conn.notifies():
                        self._dispatch(notification.payload)
            except (psycopg.Error, EngineError) as error:
                lost = error
            pause = next(pauses)
            self._is_lost(lost, pause)
            await asyncio.sleep(pause)

    def _is_back(self) -> None:
        if self._lost:
            self._lost = False
            logs.emit(log, logs.LISTENER_BACK)
            if self._meter is not None:
                self._meter.reconnected()

    def _is_lost(self, error: Exception | None, pause: float) -> None:
        self._lost = True
        logs.emit(log, logs.LISTENER_LOST, error=str(error or "it ended"), seconds=pause)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with self._connect() as conn:
            autocommit = conn.autocommit
            try:
                await conn.set_autocommit(True)
                await conn.execute("listen jobengine")
                yield conn
            finally:
                with contextlib.suppress(psycopg.Error):
                    await conn.execute("unlisten jobengine")
                    await conn.set_autocommit(autocommit)

    def _dispatch(self, payload: str) -> None:
        """Tell whom it concerns; any role may notify on the channel, with any text."""
        try:
            message = orjson.loads(payload)
            if "job_id" in message:
                self._ended(UUID(message["job_id"]))
            else:
                self._came(UUID(message["tenant_id"]), message["queue"])
        except (ValueError, TypeError, KeyError, AttributeError):
            logs.emit(log, logs.STRAY_NOTIFICATION, payload=payload[:100])

    def _ended(self, job_id: UUID) -> None:
        for event in self._on_end.get(job_id, ()):
            event.set()

    def _came(self, tenant_id: UUID | None, queue: str | None) -> None:
        for on_job in tuple(self._on_job):
            on_job(tenant_id, queue)

    def _wake_all(self) -> None:
        """Nobody knows what was missed while nobody listened."""
        self._came(None, None)
        for events in tuple(self._on_end.values()):
            for event in events:
                event.set()

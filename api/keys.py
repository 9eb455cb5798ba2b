"""Agents' keys: made here, shown once, checked on every call of an agent.

A key is `fxa_` and 43 url-safe characters, 256 random bits. The database keeps its bcrypt hash, as
the source documents ask, and its SHA-256 digest. The digest answers: of a key with that much chance
in it nobody finds the preimage (OWASP ASVS 6.5.2), and bcrypt takes 241 ms at cost 12, a quarter of
a core for an agent that pushes prices each second. bcrypt is asked once for a key whose digest is
missing, in two threads with a short queue.

What the database said is kept for four minutes, more or less: agents that came together do not ask
together. A key that changes is announced to all processes over
Redis (`api.redis_store`); while a process does not hear that, it keeps what it knows for 5 seconds
only. Asking the database on each call instead would cost every price push a round trip.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar
from uuid import UUID

import bcrypt
import psycopg

from api import calls
from api.database import Pool, as_service
from api.errors import Problem
from api.limits import Failures
from api.records import Credentials

log = logging.getLogger("api.keys")

T = TypeVar("T")

PREFIX = "fxa_"
SHOWN = 8  # characters after the prefix that the owner sees in lists
LONGEST_KEY = 72  # bytes; bcrypt refuses more
FRESH_SECONDS = 240.0
FRESH_SECONDS_DEAF = 5.0
CACHED_AGENTS = 50_000
LEARNED_AT_ONCE = 500  # agents that one statement asks about
VERIFIERS = 2
VERIFICATIONS_WAITING = 8
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).digest()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that has shown its key."""

    agent_id: UUID
    user_id: UUID
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and what is stored of it."""

    key: str
    prefix: str
    digest: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class _Known:
    credentials: Credentials
    agent: Agent
    at: float
    patience: float  # 0.8 to 1.2, of how long this is kept


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class AgentKeys:
    """Makes keys and checks them; one per process."""

    def __init__(
        self, pool: Pool, *, cost: int, failures: int, announced: Callable[[], bool]
    ) -> None:
        """`announced` tells whether changes are being heard of."""
        self._pool = pool
        self._cost = cost
        self._announced = announced
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._changes = 0  # how often something was to be forgotten
        self._learning: dict[UUID, asyncio.Future[None]] = {}
        self._learner: asyncio.Task[None] | None = None
        self._failures = Failures(failures)
        self._verifying: dict[tuple[str, bytes], asyncio.Future[bool]] = {}
        self._pending = 0
        self._threads = ThreadPoolExecutor(VERIFIERS, thread_name_prefix="bcrypt")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def forget(self, agent_id: UUID | None) -> None:
        """Ask the database again about this agent; None: about all.

        What the database is being asked meanwhile may be older than that, and is not kept.
        """
        self._changes += 1
        if agent_id is None:
            self._known.clear()
        else:
            self._known.pop(agent_id, None)

    async def still(self, agent: Agent) -> bool:
        """Tell whether the agent is let in still: the last look before it is given a job.

        A process that hears of changes knows; a deaf one asks the database.
        """
        look = self._load if self._announced() else self._ask
        known = await look(agent.agent_id)
        return known is not None and not _revoked(known)

    def holds(self, agent_id: UUID, digest: bytes) -> bool:
        """Tell whether it is certain, without asking anybody, that the key lets its agent in."""
        return self._announced() and self.known(agent_id, digest) is not None

    def known(self, agent_id: UUID, digest: bytes) -> Agent | None:
        """Return the agent whose key has this digest, if that is known without asking anybody.

        None says nothing: `agent` finds out, and why not.
        """
        known = self._known.get(agent_id)
        if known is None or not self._fresh(known):
            return None
        if not _has(known.credentials, digest) or _revoked(known):
            return None
        return known.agent

    def learn(self, agent_id: UUID) -> asyncio.Future[None]:
        """Find out about an agent of whom nothing is known, with others in one go.

        The future never fails: what was found out is for `known` to say, a refusal for `agent`.
        """
        known = self._known.get(agent_id)
        if known is None or not self._fresh(known):
            return self._ask_soon(agent_id)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def _ask_soon(self, agent_id: UUID) -> asyncio.Future[None]:
        future = self._learning.get(agent_id)
        if future is None:
            future = self._learning[agent_id] = asyncio.get_running_loop().create_future()
        if self._learner is None or self._learner.done():
            self._learner = asyncio.create_task(self._learn())
        return future

    def renew(self, agent_ids: Iterable[UUID]) -> None:
        """Have asked about those of these agents again of whom what is known grows old."""
        limit = time.monotonic() - self._patience / 2
        for agent_id in agent_ids:
            known = self._known.get(agent_id)
            if known is not None and known.at < limit:
                self._ask_soon(agent_id)

    async def make(self) -> NewKey:
        """Return a new key; `overloaded` while too many hashes are being made."""
        secret = secrets.token_urlsafe(32)
        key = PREFIX + secret
        hashed = await self._in_thread(lambda: bcrypt.hashpw(key.encode(), _salt(self._cost)))
        return NewKey(key, secret[:SHOWN], digest_of(key), hashed.decode())

    async def agent(self, agent_id: UUID, key: str, address: str) -> Agent:
        """Return the agent whose key this is.

        Raises `agent_key_invalid`, `agent_mismatch` where the key is another agent's,
        `agent_key_revoked`, or `too_many_failed_keys`. That meets a right key only where it comes
        from an address of too many wrong ones, and the agent is not known here yet.
        """
        if not key or len(key.encode()) > LONGEST_KEY:
            raise self._failed(agent_id, address)
        if wait := self.barred(agent_id, address):
            raise Problem("too_many_failed_keys", retry_after=wait)
        digest = digest_of(key)
        known = await self._load(agent_id)
        if known is None:
            hmac.compare_digest(digest, _NOBODY)  # an unknown agent takes as long as a known one
            raise await self._mistaken(agent_id, address, digest)
        if not _has(known.credentials, digest) and not await self._slowly(known, key, digest):
            raise await self._mistaken(agent_id, address, digest)
        if _revoked(known):
            raise Problem("agent_key_revoked")
        return known.agent

    def barred(self, agent_id: UUID, address: str) -> int:
        """Return how many seconds this address hears nothing of an agent not known here; or 0."""
        return 0 if agent_id in self._known else self._failures.wait(address)

    async def _mistaken(self, agent_id: UUID, address: str, digest: bytes) -> Problem:
        """Refuse a key that is not this agent's; the database says whether it is another's.

        It is asked only as often as an address or an agent may fail.
        """
        problem = self._failed(agent_id, address)
        if problem.code == "agent_key_invalid":
            async with as_service(self._pool) as conn:
                owner = await calls.agent_of_key(conn, key_digest=digest)
            if owner not in {None, agent_id}:
                return Problem("agent_mismatch")
        return problem

    def _failed(self, agent_id: UUID, address: str) -> Problem:
        if wait := max(self._failures.add(address), self._failures.add(str(agent_id))):
            return Problem("too_many_failed_keys", retry_after=wait)
        return Problem("agent_key_invalid")

    async def _load(self, agent_id: UUID) -> _Known | None:
        known = self._known.get(agent_id)
        return known if known and self._fresh(known) else await self._ask(agent_id)

    @property
    def _patience(self) -> float:
        """How long something is known, in seconds."""
        return FRESH_SECONDS if self._announced() else FRESH_SECONDS_DEAF

    def _fresh(self, known: _Known) -> bool:
        return time.monotonic() - known.at <= self._patience * known.patience

    async def _learn(self) -> None:
        """Ask until nobody waits; an outage is for those to tell who then ask for themselves."""
        while self._learning:
            batch = list(islice(self._learning, LEARNED_AT_ONCE))
            try:
                await self._ask_about(batch)
            except psycopg.Error as error:
                log.warning("%d agents were not looked up: %s", len(batch), error)
            finally:
                for agent_id in batch:
                    future = self._learning.pop(agent_id)
                    if not future.done():
                        future.set_result(None)

    async def _ask_about(self, agent_ids: Sequence[UUID]) -> None:
        at, changes = time.monotonic(), self._changes
        async with as_service(self._pool) as conn:
            found = await calls.agents_credentials(conn, agent_ids=agent_ids)
            places = await calls.agent_queues(conn, agent_ids=agent_ids)
        if changes != self._changes:
            return
        queues = {place.agent_id: tuple(place.queues) for place in places}
        for agent_id in agent_ids:
            self._known.pop(agent_id, None)
        for one in found:
            agent = Agent(one.agent_id, one.user_id, queues.get(one.agent_id, ()))
            self._remember(_Known(one.credentials(), agent, at, _jitter()))

    async def _ask(self, agent_id: UUID) -> _Known | None:
        self._known.pop(agent_id, None)
        at, changes = time.monotonic(), self._changes
        async with as_service(self._pool) as conn:
            credentials = await calls.agent_credentials(conn, agent_id=agent_id)
            queues = await calls.agent_queues(conn, agent_ids=[agent_id])
        if credentials is None:
            return None
        places = tuple(queues[0].queues) if queues else ()
        known = _Known(credentials, Agent(agent_id, credentials.user_id, places), at, _jitter())
        if changes == self._changes:
            self._remember(known)
        return known

    def _remember(self, known: _Known) -> None:
        self._known[known.agent.agent_id] = known
        while len(self._known) > CACHED_AGENTS:
            self._known.popitem(last=False)

    async def _slowly(self, known: _Known, key: str, digest: bytes) -> bool:
        """Ask bcrypt, where a hash stands without its digest, and remember the digest."""
        for hashed in _undigested(known.credentials):
            if await self._verified(hashed, key, digest):
                async with as_service(self._pool) as conn:
                    await calls.agent_set_digest(
                        conn, agent_id=known.agent.agent_id, key_hash=hashed, key_digest=digest
                    )
                self.forget(known.agent.agent_id)
                return True
        return False

    async def _verified(self, hashed: str, key: str, digest: bytes) -> bool:
        """Check each pair once at a time, however many calls ask."""
        pair = (hashed, digest)
        if pair not in self._verifying:
            future = self._in_thread(lambda: _matches(key, hashed))
            self._verifying[pair] = future
            future.add_done_callback(lambda _: self._verifying.pop(pair, None))
        return await asyncio.shield(self._verifying[pair])

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._pending >= VERIFIERS + VERIFICATIONS_WAITING:
            raise Problem("overloaded", retry_after=1)
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[T]) -> None:
        self._pending -= 1


def _revoked(known: _Known) -> bool:
    """Without queues it was revoked between the two questions."""
    return known.credentials.revoked_at is not None or not known.agent.queues


def _has(credentials: Credentials, digest: bytes) -> bool:
    """Tell whether the digest is that of the key, or of the one before it in its last minutes."""
    now = hmac.compare_digest(digest, credentials.key_digest or _NOBODY)
    before = hmac.compare_digest(digest, credentials.previous_key_digest or _NOBODY)
    return now or (before and _previous_counts(credentials))


def _undigested(credentials: Credentials) -> list[str]:
    found = []
    if credentials.key_hash and not credentials.key_digest:
        found.append(credentials.key_hash)
    if (
        _previous_counts(credentials)
        and credentials.previous_key_hash
        and not credentials.previous_key_digest
    ):
        found.append(credentials.previous_key_hash)
    return found


def _previous_counts(credentials: Credentials) -> bool:
    until = credentials.previous_key_until
    return until is not None and until > datetime.now(UTC)


def _matches(key: str, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(key.encode(), hashed.encode())
    except ValueError:  # not a bcrypt hash: it matches nothing
        return False


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311


def _salt(cost: int) -> bytes:
    return bcrypt.gensalt(cost)

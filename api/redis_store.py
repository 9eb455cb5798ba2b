"""What the service keeps in Redis: the agents' prices, and the word that an agent has changed.

Every instrument goes to the key of the source documents, `prices:<instrument>`, and to one of the
agent's own, `prices:<agent id>:<instrument>`: keys that all agents share say whose price came last,
not whose it is. Both are published under the same names.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from api.errors import Problem
from api.instruments import PRICE_SECONDS, Instruments
from api.models import Price

log = logging.getLogger("api.redis")

CHANGED = "agents:changed"
INTEREST_SECONDS = 60  # a key of what is watched stays so long without a renewal
TIMEOUT = 2.0  # seconds for a command
QUIET_SECONDS = 5.0  # the subscription is asked so often whether it lives
AGAIN_SECONDS = 1.0
CONNECTIONS = 16


class RedisStore:
    """One client for commands and one subscription per process; opens nothing before its use."""

    def __init__(self, url: str, *, instruments: int) -> None:
        """An agent's prices are kept of so many instruments."""
        # No retries: a command that fails is answered as failed, and a subscription that breaks
        # is known to have missed something.
        self._client = redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=TIMEOUT,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._instruments = Instruments(self._client, instruments)
        self.hearing = False

    @property
    def client(self) -> redis.Redis:
        """For the other keys of the service."""
        return self._client

    async def close(self) -> None:
        await self._client.aclose()

    async def ping(self) -> bool:
        """Tell whether Redis answers."""
        try:
            return bool(await self._client.ping())
        except (RedisError, OSError):
            return False

    async def put_prices(self, agent_id: UUID, prices: Mapping[str, Price]) -> list[str]:
        """Store and publish the prices, and return which of the agent's prices are watched.

        One pipeline; `prices_unavailable` where that fails. `invalid`, with nothing stored, where
        the agent's instruments became too many.
        """
        await self._instruments.admit(agent_id, prices.keys())
        now = time.time_ns() // 1_000_000
        async with self._client.pipeline(transaction=False) as pipeline:
            for instrument, price in prices.items():
                message = orjson.dumps({"bid": price.bid, "ask": price.ask, "ts": now})
                for key in (f"prices:{instrument}", f"prices:{agent_id}:{instrument}"):
                    pipeline.set(key, message, ex=PRICE_SECONDS)
                    pipeline.publish(key, message)
            pipeline.zrangebyscore(f"interest:{agent_id}", now, "+inf")
            try:
                *_, watched = await pipeline.execute()
            except (RedisError, OSError) as error:
                raise Problem("prices_unavailable") from error
        return [name.decode() for name in watched]

    async def get(self, key: str) -> bytes | None:
        """Return what is kept; nothing while Redis is away."""
        try:
            found = await self._client.get(key)
        except (RedisError, OSError) as error:
            log.warning("what is kept cannot be read: %s", error)
            return None
        return found.encode() if isinstance(found, str) else found

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep the value for so many seconds; not while Redis is away."""
        try:
            await self._client.set(key, value, ex=seconds)
        except (RedisError, OSError) as error:
            log.warning("nothing can be kept: %s", error)

    async def put_interest(
        self, watched: Mapping[UUID, Mapping[str, int]], left: Mapping[UUID, Mapping[str, int]]
    ) -> None:
        """Write until when (unix ms) an agent's prices are watched: `interest:<agent id>`.

        What is in `left` is never made to last longer. `prices_unavailable` where it fails.
        """
        now = time.time_ns() // 1_000_000
        async with self._client.pipeline(transaction=False) as pipeline:
            for agent_id, expiries in watched.items():
                pipeline.zadd(f"interest:{agent_id}", dict(expiries))
                pipeline.expire(f"interest:{agent_id}", INTEREST_SECONDS)
            for agent_id, expiries in left.items():
                pipeline.zadd(f"interest:{agent_id}", dict(expiries), xx=True, lt=True)
            for agent_id in watched.keys() | left.keys():
                pipeline.zremrangebyscore(f"interest:{agent_id}", "-inf", now)
            try:
                await pipeline.execute()
            except (RedisError, OSError) as error:
                raise Problem("prices_unavailable") from error

    async def announce(self, agent_id: UUID) -> None:
        """Tell all processes that an agent's key changed; deaf ones ask the database soon."""
        try:
            await self._client.publish(CHANGED, str(agent_id))
        except (RedisError, OSError) as error:
            log.warning("a changed key was not announced: %s", error)

    async def hear(self, changed: Callable[[UUID | None], None]) -> None:
        """Call `changed` with every agent that is announced, for ever; None: any may have."""
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(CHANGED)
                    await self._listen(subscription, changed)
            except (RedisError, OSError) as error:
                log.warning("changed keys are not heard of: %s", error)
            finally:
                self.hearing = False
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self, subscription: Any, changed: Callable[[UUID | None], None]) -> None:
        unanswered = False
        while True:
            message = await subscription.get_message(timeout=QUIET_SECONDS)
            if message is None and unanswered:
                raise RedisConnectionError("the subscription is silent")
            unanswered = message is None
            if message is None:
                await subscription.ping()
            elif message["type"] == "subscribe":
                self.hearing = True
                changed(None)
            elif message["type"] == "message":
                changed(_agent_id(message["data"]))


def _agent_id(data: bytes) -> UUID | None:
    """Read an announcement; one that cannot be read may concern any agent."""
    try:
        return UUID(data.decode())
    except ValueError:
        return None

"""What all requests of a process share, and what it does besides answering them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from api.database import Pool, create_pool
from api.handed import Handed
from api.intake import Intake
from api.keys import AgentKeys
from api.longpoll import LongPoll
from api.metrics import Metrics
from api.presence import Presence
from api.redis_store import RedisStore
from api.settings import Settings
from api.spool import Spool
from api.starts import Starts
from api.stream import PriceStream
from api.tokens import Tokens
from jobengine import Counters, Housekeeping, JobEngine
from jobengine._cancelling import cancelled

log = logging.getLogger("api")

SWEEP_SECONDS = 2.0  # leases that ran out are taken back so often
AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """The parts; `running` brings them to life."""

    settings: Settings
    metrics: Metrics
    pool: Pool
    engine: JobEngine
    redis: RedisStore
    tokens: Tokens
    keys: AgentKeys
    presence: Presence
    longpoll: LongPoll
    intake: Intake
    handed: Handed
    starts: Starts
    stream: PriceStream

    def forget(self, agent_id: UUID | None) -> None:
        """Have the agent show its key again, and the database asked about it; None: all agents."""
        self.keys.forget(agent_id)
        self.longpoll.forget(agent_id)
        self.stream.forget(agent_id)

    def close_polls(self) -> None:
        """Answer everybody who waits: the process is about to end."""
        self.longpoll.close()


@asynccontextmanager
async def running(settings: Settings, metrics: Metrics) -> AsyncIterator[Service]:
    """Yield the service with its connections and its tasks; both end with the block."""
    async with AsyncExitStack() as stack:
        pool = create_pool(settings.database_url, settings.pool_size)
        stack.push_async_callback(pool.close)
        # Not waited for: a service that starts before its database is there says so in /readyz.
        await pool.open(wait=False)
        counters = Counters()
        metrics.sources.append(counters.text)
        engine = await stack.enter_async_context(JobEngine(pool, on_metric=counters))
        service = _service(settings, metrics, pool, engine)
        stack.push_async_callback(service.redis.close)
        stack.callback(service.keys.close)
        tasks = [asyncio.create_task(_for_ever(work)) for work in _works(service)]
        stack.push_async_callback(cancelled, *tasks)
        yield service
        service.close_polls()


def _service(settings: Settings, metrics: Metrics, pool: Pool, engine: JobEngine) -> Service:
    redis = RedisStore(settings.redis_url, instruments=settings.price_instruments)
    keys = AgentKeys(
        pool,
        cost=settings.bcrypt_cost,
        failures=settings.key_failures,
        announced=lambda: redis.hearing,
    )
    longpoll = LongPoll(engine, keys.renew)
    metrics.waiting = lambda: longpoll.waiting
    tokens = Tokens(settings)
    stream = PriceStream(settings, pool, redis, tokens)
    metrics.sources.append(stream.text)
    return Service(
        settings=settings,
        metrics=metrics,
        pool=pool,
        engine=engine,
        redis=redis,
        tokens=tokens,
        keys=keys,
        presence=Presence(pool),
        longpoll=longpoll,
        intake=Intake(
            pool,
            Spool(redis.client),
            metrics,
            per_minute=settings.webhook_per_minute,
            failures=settings.key_failures,
        ),
        handed=Handed(),
        starts=Starts(engine),
        stream=stream,
    )


def _works(service: Service) -> list[Callable[[], Awaitable[None]]]:
    return [
        service.longpoll.run,
        service.presence.run,
        lambda: service.redis.hear(service.forget),
        service.intake.drain,
        service.intake.refresh,
        Housekeeping(service.engine, sweep_every=SWEEP_SECONDS).run,
        *service.stream.works,
    ]


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Do it again should it fail, which it does by a mistake of ours only."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("a task of the service failed")
        await asyncio.sleep(AGAIN_SECONDS)

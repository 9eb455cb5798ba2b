"""Where alerts wait in Redis while the database does not answer.

`webhook:spool` is the list, `webhook:known` the set of the secrets' digests: what comes with a
secret of nobody's is not kept. Alerts that the database refuses, by a mistake of ours, go to
`webhook:failed` for a person to look at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from redis import asyncio as redis
from redis.exceptions import RedisError

log = logging.getLogger("api.webhooks")

SPOOL = "webhook:spool"
KNOWN = "webhook:known"
FAILED = "webhook:failed"
DRAINING = "webhook:draining"
LONGEST = 100_000  # alerts; 64 KiB each at most
AOF_MILLISECONDS = 500
HOLD_MILLISECONDS = 10_000  # how long a process that died may keep the others from draining
SENTINEL = "-"  # so that the set is there when there is no strategy

_KEEP = """
if ARGV[4] == '0' and redis.call('sismember', KEYS[2], ARGV[1]) == 0 then return -1 end
if redis.call('llen', KEYS[1]) >= tonumber(ARGV[3]) then return -2 end
local now = redis.call('time')
local kept_at = string.format(',"kept_at":%d.%06d}', now[1], now[2])
return redis.call('rpush', KEYS[1], string.sub(ARGV[2], 1, -2) .. kept_at)
"""
_FREE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"


class SpoolUnavailable(Exception):
    """Redis does not answer, or the list is as long as it may become."""


class Kept(Enum):
    """What became of an alert."""

    KEPT = "kept"
    UNKNOWN = "nobody's secret"


class Spool:
    """The list and the set; every method raises SpoolUnavailable where Redis does not answer."""

    def __init__(self, client: redis.Redis, longest: int = LONGEST) -> None:
        self._client: Any = client  # its types promise awaitables and values at once
        self._longest = longest
        self._known: set[str] = set()  # of the set, what this process taught or has seen

    async def keep(self, digest: bytes, entry: bytes) -> Kept:
        """Keep an alert behind those that wait; on disk before the answer, where Redis has AOF.

        The entry is a JSON object; `kept_at` is added to it, by the clock of `now`.
        Its secret is known to this process or to Redis, which may have lost its memory.
        """
        known = int(digest.hex() in self._known)
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.eval(_KEEP, 2, SPOOL, KNOWN, digest.hex(), entry, self._longest, known)
                pipeline.execute_command("WAITAOF", 1, 0, AOF_MILLISECONDS)
                kept, _ = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise SpoolUnavailable(str(error)) from error
        if isinstance(kept, Exception) or kept == -2:  # noqa: PLR2004 - the script's word for full
            raise SpoolUnavailable(f"the alert was not kept: {kept}")
        return Kept.UNKNOWN if kept == -1 else Kept.KEPT

    async def now(self) -> float:
        """Return the time by Redis's clock, in seconds since 1970: the one of `kept_at`."""
        seconds, microseconds = await self._asked("time")
        return float(seconds) + float(microseconds) / 1e6

    async def length(self) -> int:
        """Return how many alerts wait."""
        return int(await self._asked("llen", SPOOL))

    async def first(self, count: int) -> list[bytes]:
        """Return the oldest alerts that wait."""
        return list(await self._asked("lrange", SPOOL, 0, count - 1))

    async def drop(self, entries: Sequence[bytes]) -> None:
        """Forget alerts that are in the database."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.lrem(SPOOL, 1, entry)
            await self._done(pipeline)

    async def fail(self, entry: bytes) -> None:
        """Put an alert aside for a person."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.rpush(FAILED, entry)
            pipeline.ltrim(FAILED, -self._longest, -1)
            pipeline.lrem(SPOOL, 1, entry)
            await self._done(pipeline)

    async def hold(self, holder: str) -> bool:
        """Tell whether this process may drain, for ten more seconds: one does, in order."""
        if await self._asked("set", DRAINING, holder, nx=True, px=HOLD_MILLISECONDS):
            return True
        if await self._asked("get", DRAINING) != holder.encode():
            return False
        await self._asked("pexpire", DRAINING, HOLD_MILLISECONDS)
        return True

    async def free(self, holder: str) -> None:
        """Let another process drain."""
        await self._asked("eval", _FREE, 1, DRAINING, holder)

    async def known(self) -> set[str]:
        """Return the digests of the set."""
        return {member.decode() for member in await self._asked("smembers", KNOWN)}

    async def knows(self, digest: bytes) -> bool:
        """Tell whether the secret is somebody's, as far as this process or Redis knows."""
        name = digest.hex()
        return name in self._known or bool(await self._asked("sismember", KNOWN, name))

    async def learn(self, digests: Iterable[bytes]) -> None:
        """Take alerts with these secrets from now on."""
        learned = {digest.hex() for digest in digests}
        self._known |= learned
        await self._asked("sadd", KNOWN, SENTINEL, *learned)

    async def unlearn(self, digests: Iterable[str]) -> None:
        """Take alerts with these secrets no more."""
        gone = [digest for digest in digests if digest != SENTINEL]
        self._known.difference_update(gone)
        if gone:
            await self._asked("srem", KNOWN, *gone)

    async def _asked(self, command: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await getattr(self._client, command)(*arguments, **options)
        except (RedisError, OSError) as error:
            raise SpoolUnavailable(str(error)) from error

    async def _done(self, pipeline: Any) -> None:
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise SpoolUnavailable(str(error)) from error

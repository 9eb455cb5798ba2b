"""Of how many instruments an agent's prices are kept: any name is one, and each takes memory.

`instruments:<agent id>` holds them with when they were last asked about (unix seconds). A process
asks about a name once an hour, so prices of known names cost a comparison.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from redis import asyncio as redis
from redis.exceptions import RedisError

from api.errors import Problem, invalid

PRICE_SECONDS = 7 * 24 * 3600  # a price stays so long: a weekend, not the life of the server
REMEMBERED_SECONDS = 3600.0
REMEMBERED_AGENTS = 50_000

_ADMIT = """
local now = tonumber(redis.call('time')[1])
redis.call('zremrangebyscore', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local count = redis.call('zcard', KEYS[1])
for i = 3, #ARGV do
    if not redis.call('zscore', KEYS[1], ARGV[i]) then count = count + 1 end
end
if count > tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV do redis.call('zadd', KEYS[1], now, ARGV[i]) end
redis.call('expire', KEYS[1], ARGV[2])
return 1
"""


@dataclass(slots=True)
class _Admitted:
    """What an agent may push without a question, until it is asked anew."""

    until: float
    names: set[str] = field(default_factory=set)


class Instruments:
    """The instruments of all agents, as far as this process has seen them pushed."""

    def __init__(self, client: redis.Redis, most: int) -> None:
        """An agent may have so many."""
        self._client: Any = client  # its types promise awaitables and values at once
        self._most = most
        self._admitted: OrderedDict[UUID, _Admitted] = OrderedDict()

    async def admit(self, agent_id: UUID, names: AbstractSet[str]) -> None:
        """Raise `invalid` where these would be too many; `prices_unavailable` without Redis."""
        known = self._known(agent_id)
        if names <= known.names:
            return
        if not await self._ask(agent_id, names - known.names):
            rule = f"instruments of an agent within seven days: {self._most} at most"
            raise invalid("body", rule)
        known.names.update(names)

    def _known(self, agent_id: UUID) -> _Admitted:
        now = time.monotonic()
        known = self._admitted.get(agent_id)
        if known is None or known.until <= now:
            known = self._admitted[agent_id] = _Admitted(now + REMEMBERED_SECONDS)
            self._admitted.move_to_end(agent_id)
            if len(self._admitted) > REMEMBERED_AGENTS:
                self._admitted.popitem(last=False)
        return known

    async def _ask(self, agent_id: UUID, names: AbstractSet[str]) -> bool:
        key = f"instruments:{agent_id}"
        try:
            found = await self._client.eval(_ADMIT, 1, key, self._most, PRICE_SECONDS, *names)
        except (RedisError, OSError) as error:
            raise Problem("prices_unavailable") from error
        return bool(found)

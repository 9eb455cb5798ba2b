"""Prices: the same for all who watch an account's instrument, and nobody else's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from uuid import UUID

from api.demo.evidence import Evidence
from api.demo.watch import Watcher, together

ENOUGH = 3  # prices that two clients have seen together


def _pairs(evidence: Evidence) -> Iterator[tuple[Watcher, Watcher]]:
    """Yield the two clients of each user's instrument."""
    by_topic: defaultdict[tuple[UUID, str], list[Watcher]] = defaultdict(list)
    for watcher in evidence.watchers:
        by_topic[watcher.user.user_id, watcher.instrument].append(watcher)
    for watchers in by_topic.values():
        yield from combinations(watchers, 2)


def same_for_both(evidence: Evidence) -> Iterator[str]:
    """While both were connected, two clients saw the same prices, in the same order."""
    for first, second in _pairs(evidence):
        name, shared = f"{first.user.name}'s {first.instrument}", 0
        for one, other in together(first.ticks, second.ticks):
            shared += len(one)
            if one != other:
                yield f"{name}: {sorted(set(one) ^ set(other))} for one client only"
        if shared < ENOUGH:
            yield f"{name}: {shared} prices for both"


def own_only(evidence: Evidence) -> Iterator[str]:
    """What a user saw, the market of the own account's terminal had; it can be asked again."""
    agents = {(a.user_id, symbol): a for a in reversed(evidence.agents) for symbol in a.symbols}
    for watcher in evidence.watchers:
        agent = agents[watcher.user.user_id, watcher.instrument]
        for tick in watcher.ticks:
            if not agent.quoted(watcher.instrument, tick.bid, tick.ask, tick.ts):
                yield f"{watcher.user.name} saw {watcher.instrument} at {tick.price}"
                break


def candles_cached(evidence: Evidence) -> Iterator[str]:
    """Of two calls the first was a miss, and the second, for fewer, a hit."""
    if evidence.caches != ["miss", "hit"] * len(evidence.accounts):
        yield ", ".join(evidence.caches)

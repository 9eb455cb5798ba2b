"""The proofs: each looks for what would be wrong, and holds where it finds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from api.demo.evidence import Evidence
from api.demo.proofs import alerts, jobs, prices, trades

Proof: TypeAlias = Callable[[Evidence], Iterator[str]]

PROOFS: Mapping[str, Proof] = {
    "all nine types of jobs were done": jobs.all_types,
    "every job ended once, and its events say how": jobs.ended_once,
    "no agent had a job of another user or account": jobs.kept_apart,
    "versions, deployments and signals say what the results said": jobs.settled_equals_ended,
    "every order ended as it had to": trades.as_expected,
    "a repeated request made no second order": trades.one_order_per_key,
    "no order was filled twice, by the terminals' own books": trades.filled_once,
    "every fill is known, and everything known was filled": trades.fills_known,
    "every alert is one trade in the books, or one signal that says why not": alerts.traded_once,
    "an unknown secret was answered alike, and left nothing": alerts.strangers_leave_nothing,
    "every signal has the fill price of the books": alerts.same_price,
    "a stop-loss at the broker was noticed": trades.stops_noticed,
    "positions and balance at the service are the book's": trades.same_positions,
    "each day's profit and loss is that of the book's deals": trades.same_pnl,
    "agent and service were killed amid orders": trades.killed_amid,
    "both clients of an instrument saw the same prices": prices.same_for_both,
    "nobody saw the prices of another user's terminal": prices.own_only,
    "the second call for candles was a hit of the cache": prices.candles_cached,
    "no log holds a key, a token or a webhook's secret": jobs.logs_keep_secrets,
}


def prove(evidence: Evidence) -> dict[str, list[str]]:
    """Return what is wrong, by proof."""
    return {name: list(proof(evidence)) for name, proof in PROOFS.items()}

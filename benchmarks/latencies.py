"""Percentiles of how long things took."""

from __future__ import annotations

from collections.abc import Sequence

SHARES = (0.5, 0.99)


def percentiles(seconds: Sequence[float], prefix: str = "") -> dict[str, float]:
    """Return p50, p99 and the greatest in milliseconds: `p50_ms` and so on."""
    found = sorted(seconds)
    if not found:
        raise AssertionError("nothing was measured")
    return {
        **{f"{prefix}p{share * 100:.0f}_ms": at(found, share) * 1000 for share in SHARES},
        f"{prefix}max_ms": found[-1] * 1000,
    }


def at(ascending: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]

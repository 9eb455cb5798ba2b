"""What may go wrong between an agent and its broker, on purpose.

A fault comes from one of two places: a plan with chances, drawn from a seed for each order, or a
switch in the book's file, which anyone may set while the terminal runs (`inject`, `clear`,
`python -m forex_agent.simulated`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from forex_agent.simulated.book import Book

Kind: TypeAlias = Literal[
    "requote",
    "autotrading_off",
    "timeout_filled",
    "timeout_unfilled",
    "late_fill",
    "partial",
    "hang",
    "slow",
    "disconnect",
    "restart",
]
Calls: TypeAlias = Literal["trade", "all"]

KINDS: tuple[Kind, ...] = get_args(Kind)
_EVERY_CALL = {"disconnect", "restart"}
_SECONDS: Mapping[Kind, float] = MappingProxyType(
    {"hang": 60.0, "slow": 0.5, "late_fill": 5.0, "disconnect": 5.0}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that strikes now; `seconds` is how long it lasts, where that has a meaning."""

    kind: Kind
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """A plan: how often each kind strikes an order or a close, at most one kind each time.

    The draw depends on the seed, the order's comment and how often it was tried, not on what other
    orders did. `seconds` overrides how long a kind lasts; `fraction` is what a partial fill fills.
    """

    seed: int = 0
    chances: Mapping[Kind, float] = field(default_factory=dict)
    seconds: Mapping[Kind, float] = field(default_factory=dict)
    fraction: Decimal = Decimal("0.5")

    def __post_init__(self) -> None:
        """`ValueError` for a kind that is not known, chances that are none, seconds below zero."""
        for name in (*self.chances, *self.seconds):
            check_kind(name)
        total = sum(self.chances.values())
        if total > 1 or any(chance < 0 for chance in self.chances.values()):
            raise ValueError("chances: each is at least 0, all together at most 1")
        if any(seconds < 0 for seconds in self.seconds.values()):
            raise ValueError("seconds: not below 0")
        if not 0 < self.fraction < 1:
            raise ValueError("fraction: above 0 and below 1")

    def draw(self, comment: str, attempt: int) -> Fault | None:
        """Return what strikes this attempt of this order."""
        if not self.chances:
            return None
        digest = hashlib.blake2b(f"{self.seed}/{comment}/{attempt}".encode(), digest_size=6)
        number = int.from_bytes(digest.digest()) / 2**48
        for kind, chance in self.chances.items():
            number -= chance
            if number < 0:
                return Fault(kind, self.lasts(kind))
        return None

    def lasts(self, kind: Kind) -> float:
        """Return how many seconds a kind lasts."""
        return self.seconds.get(kind, _SECONDS.get(kind, 0.0))


def inject(
    path: Path,
    kind: Kind,
    *,
    times: int | None = 1,
    seconds: float | None = None,
    calls: Calls | None = None,
) -> None:
    """Switch a fault on in a book, for so many calls; `times=None` means until it is cleared.

    `calls` says whom it strikes: `trade` (orders and closes) or `all`; by default all calls for
    `disconnect` and `restart`, which know nothing else, and trades for the rest. Of the others
    only `hang` and `slow` may strike all calls.
    """
    check_kind(kind)
    if times is not None and times < 1:
        raise ValueError("times: at least 1, or None for until it is cleared")
    lasting = _SECONDS.get(kind, 0.0) if seconds is None else seconds
    if lasting < 0:
        raise ValueError("seconds: not below 0")
    with closing(Book(path)) as book:
        book.execute(
            "insert into faults values (?, ?, ?, ?) on conflict (kind) do update set"
            " remaining = excluded.remaining, seconds = excluded.seconds, calls = excluded.calls",
            kind,
            times,
            lasting,
            _scope(kind, calls),
        )


def clear(path: Path, kind: Kind | None = None) -> None:
    """Switch one kind of fault off, or all."""
    if kind is not None:
        check_kind(kind)
    with closing(Book(path)) as book:
        book.execute("delete from faults where kind = coalesce(?, kind)", kind)


def check_kind(kind: str) -> None:
    """Refuse what is no kind of fault."""
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")


def _scope(kind: Kind, calls: Calls | None) -> Calls:
    if kind in _EVERY_CALL:
        if calls == "trade":
            raise ValueError(f"calls: {kind} strikes all calls")
        return "all"
    if calls == "all" and kind not in {"hang", "slow"}:
        raise ValueError(f"calls: {kind} strikes trades only")
    return calls or "trade"

"""The symbols a simulated broker offers, and their trading conditions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from forex_agent.terminal import Symbol

Filling: TypeAlias = Literal["fok", "ioc", "return"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One symbol.

    `price` and `volatility` (a year's range as a share of the price) shape the random walk only.
    `spread`, `swap_long`, `swap_short` and `stops_level` are in points, swaps for one night.
    `base` and `quote` are the currencies that are bought and paid with.
    """

    name: str
    base: str
    quote: str
    digits: int
    price: float
    spread: int
    volatility: float = 0.10
    contract_size: Decimal = Decimal(100_000)
    volume_min: Decimal = Decimal("0.01")
    volume_max: Decimal = Decimal(100)
    volume_step: Decimal = Decimal("0.01")
    stops_level: int = 10
    swap_long: Decimal = Decimal(-6)
    swap_short: Decimal = Decimal(1)
    fillings: tuple[Filling, ...] = ("fok", "ioc")
    trade_allowed: bool = True

    @property
    def point(self) -> Decimal:
        """Return the smallest step of the price."""
        return Decimal(1).scaleb(-self.digits)

    def decimal(self, points: int) -> Decimal:
        """Return a price that is counted in points as the number that it stands for."""
        return Decimal(points).scaleb(-self.digits)

    def rules(self) -> Symbol:
        """Return what the protocol tells of the symbol."""
        return Symbol(
            name=self.name,
            digits=self.digits,
            point=self.point,
            volume_min=self.volume_min,
            volume_max=self.volume_max,
            volume_step=self.volume_step,
            contract_size=self.contract_size,
            stops_level=self.stops_level,
            fillings=self.fillings,
            trade_allowed=self.trade_allowed,
        )


def _pair(name: str, price: float, spread: int, volatility: float = 0.10) -> Spec:
    digits = 3 if name.endswith("JPY") else 5
    return Spec(
        name=name,
        base=name[:3],
        quote=name[3:],
        digits=digits,
        price=price,
        spread=spread,
        volatility=volatility,
    )


_GOLD = Spec(
    name="XAUUSD",
    base="XAU",
    quote="USD",
    digits=2,
    price=2400.0,
    spread=25,
    volatility=0.20,
    contract_size=Decimal(100),
    volume_max=Decimal(50),
    stops_level=20,
    swap_long=Decimal(-40),
    swap_short=Decimal(15),
)
_SILVER = Spec(
    name="XAGUSD",
    base="XAG",
    quote="USD",
    digits=3,
    price=29.0,
    spread=25,
    volatility=0.30,
    contract_size=Decimal(5000),
    volume_max=Decimal(50),
    stops_level=20,
)
_BITCOIN = Spec(
    name="BTCUSD",
    base="BTC",
    quote="USD",
    digits=2,
    price=60_000.0,
    spread=1500,
    volatility=0.60,
    contract_size=Decimal(1),
    volume_max=Decimal(10),
    stops_level=100,
    fillings=("ioc",),
)

KNOWN: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _pair("EURUSD", 1.085, 8),
        _pair("GBPUSD", 1.27, 11),
        _pair("USDJPY", 150.0, 10),
        _pair("USDCHF", 0.89, 12),
        _pair("USDCAD", 1.36, 13),
        _pair("AUDUSD", 0.66, 10),
        _pair("NZDUSD", 0.61, 14),
        _pair("EURGBP", 0.854, 12, 0.06),
        _pair("EURJPY", 162.75, 16),
        _pair("EURCHF", 0.965, 15, 0.06),
        _pair("GBPJPY", 190.5, 22, 0.13),
        _pair("AUDJPY", 99.0, 18, 0.13),
        _GOLD,
        _SILVER,
        _BITCOIN,
    )
}


def known(name: str) -> Spec:
    """Return the conditions of a usual symbol; `ValueError` names those there are."""
    spec = KNOWN.get(name)
    if spec is None:
        raise ValueError(f"symbol: {name!r} is not known; known are {', '.join(sorted(KNOWN))}")
    return spec


def usual(name: str) -> Spec:
    """Return the conditions of any symbol: the known ones, else those of a currency pair."""
    spec = KNOWN.get(name)
    if spec is not None:
        return spec
    if len(name) < len("EURUSD"):
        raise ValueError(f"symbol: {name!r} is not known and not a pair of two currencies")
    return _pair(name[:6], 1.0, 15)

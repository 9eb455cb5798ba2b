"""Profit, margin and swap, in the account's currency, by the market's own rates."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from forex_agent.simulated.market import Market
from forex_agent.simulated.symbols import Spec
from forex_agent.terminal import Side

ONE = Decimal(1)
_WITHOUT_CENTS = {"JPY", "KRW", "HUF"}


class NoRate(Exception):
    """No symbol of the market leads from one currency to the other."""


def cents(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's smallest coin, halves away from zero."""
    coin = ONE if currency in _WITHOUT_CENTS else Decimal("0.01")
    return amount.quantize(coin, rounding=ROUND_HALF_UP)


def direction(side: Side) -> int:
    """Return 1 for a buy, -1 for a sell."""
    return 1 if side == "buy" else -1


@dataclass(frozen=True, slots=True)
class Exchange:
    """Changes money into `currency` at the market's bids, by way of the dollar where needed."""

    market: Market
    currency: str

    def rate(self, source: str, at: int) -> Decimal:
        """Return what one unit of `source` is worth; `NoRate` where nothing leads there."""
        if source == self.currency:
            return ONE
        direct = self._step(source, self.currency, at)
        if direct is not None:
            return direct
        first = self._step(source, "USD", at)
        second = self._step("USD", self.currency, at)
        if first is None or second is None:
            raise NoRate(f"no symbol leads from {source} to {self.currency}")
        return first * second

    def profit(self, spec: Spec, side: Side, volume: Decimal, points: int, at: int) -> Decimal:
        """Return what a move of the price by `points` made; unrounded."""
        moved = spec.decimal(points) * direction(side)
        return moved * volume * spec.contract_size * self.rate(spec.quote, at)

    def margin_per_lot(self, spec: Spec, points: int, leverage: int, at: int) -> Decimal:
        """Return what one lot at that price binds; unrounded."""
        worth = spec.contract_size * spec.decimal(points) * self.rate(spec.quote, at)
        return worth / leverage

    def swap(self, spec: Spec, side: Side, volume: Decimal, nights: int, at: int) -> Decimal:
        """Return what holding a position over so many nights costs (negative) or earns."""
        points = spec.swap_long if side == "buy" else spec.swap_short
        worth = spec.point * volume * spec.contract_size * self.rate(spec.quote, at)
        return points * nights * worth

    def _step(self, source: str, target: str, at: int) -> Decimal | None:
        for name, spec in self.market.specs.items():
            if (spec.base, spec.quote) not in {(source, target), (target, source)}:
                continue
            quote = self.market.quote(name, at)
            if quote is not None and quote.bid > 0:
                price = spec.decimal(quote.bid)
                return price if spec.base == source else ONE / price
        return None

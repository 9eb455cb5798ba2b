"""Numbers from the package's floats and back: exact on our side, floats on the terminal's."""

from __future__ import annotations

from decimal import Decimal

from forex_agent.terminal import NotSent, Symbol

DIGITS = 8  # no price, volume or amount has more; what is behind is the float's, not the broker's


def exact(value: float) -> Decimal:
    """Return the number that the float stands for: 0.30000000000000004 is 0.3."""
    return Decimal(str(round(float(value), DIGITS)))


def price_or_none(value: float) -> Decimal | None:
    """Return SL or TP, None where there is none: the terminal writes 0."""
    return exact(value) if value else None


def price(value: Decimal, digits: int) -> float:
    """Round a price to the symbol's digits; it moves by less than half of the least step."""
    return float(round(value, digits))


def volume(value: Decimal, symbol: Symbol) -> float:
    """Return the volume if the symbol allows it, else raise `NotSent` (`volume_out_of_range`).

    It is never rounded: who asked for 0.015 lots gets neither 0.01 nor 0.02 of them.
    """
    if not symbol.volume_min <= value <= symbol.volume_max:
        raise _refused(value, symbol)
    return multiple(value, symbol)


def multiple(value: Decimal, symbol: Symbol) -> float:
    """Return the volume if it is a multiple of the symbol's step."""
    if value <= 0 or value % symbol.volume_step:
        raise _refused(value, symbol)
    return float(value)


def _refused(value: Decimal, symbol: Symbol) -> NotSent:
    return NotSent(
        "volume_out_of_range",
        f"volume {value}: {symbol.name} allows {symbol.volume_min} to {symbol.volume_max}"
        f" in steps of {symbol.volume_step}",
    )

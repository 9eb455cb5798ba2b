"""Alerts as TradingView posts them, each with what must become of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from api.demo.world import TOO_MUCH, Agent

OPENING = 5
OTHER = "DAX40"  # which no strategy allows

Target: TypeAlias = Literal["strategy", "disabled", "nobody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is said, `words` for people; to the account's strategy, a disabled one, or nobody's.

    `expected` is the signal's status, of a discarded one its code; None: there must be no signal.
    """

    agent: Agent
    words: str
    body: str
    to: Target = "strategy"
    expected: str | None = "executed"

    @property
    def payload(self) -> dict[str, Any]:
        """What a signal keeps of it."""
        try:
            found: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return {"_raw": self.body}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An alert that was posted, and how it was answered; times in seconds since 1970."""

    alert: Alert
    sent_at: float
    answered_at: float
    answer: tuple[int, str]


def alerts(agent: Agent, chance: random.Random) -> list[Alert]:
    """Return the alerts for an account in their order; those that open come first."""
    symbol = agent.symbols[0]
    opening = [_opening(agent, number, chance) for number in range(OPENING)]
    again = opening[-1]
    return [
        *opening,
        Alert(agent=agent, words="the same again", body=again.body, expected="duplicate"),
        *_others(agent, symbol),
        _alert(agent, "close", f"close {symbol}", {"symbol": symbol, "action": "close"}),
    ]


def late_alert(agent: Agent) -> Alert:
    """Return the alert that comes while the account's agent is dead, and waits for it."""
    symbol = agent.symbols[0]
    said = {"symbol": symbol, "action": "buy"}
    return _alert(agent, "late", f"buy {symbol}, agent dead", said)


def _opening(agent: Agent, number: int, chance: random.Random) -> Alert:
    """Return one that opens: numbers are quoted or not, the volume said or the strategy's own."""
    symbol, side = agent.symbols[0], chance.choice(("buy", "sell"))
    volume = chance.randint(1, 5) / 100
    forms: tuple[tuple[str, dict[str, Any]], ...] = (
        (f'"{volume}" OANDA:{symbol}', {"ticker": f"OANDA:{symbol}", "contracts": str(volume)}),
        (f"{volume} {symbol}", {"symbol": symbol, "volume": volume}),
        (f"{{{{contracts}}}} {symbol}", {"Symbol": symbol, "qty": "{{strategy.order.contracts}}"}),
    )
    words, said = forms[number % len(forms)]
    return _alert(agent, str(number), f"{side} {words}", {"action": side, **said})


def _others(agent: Agent, symbol: str) -> Iterator[Alert]:
    """Yield those that come to no trade."""
    buy = {"symbol": symbol, "action": "buy"}
    other, large = {**buy, "symbol": OTHER}, {**buy, "volume": str(TOO_MUCH)}
    yield _alert(agent, "other", f"buy {OTHER}", other, expected="pair_not_allowed")
    yield _alert(agent, "large", f"buy {TOO_MUCH} {symbol}", large, expected="failed")
    cut = json.dumps({**buy, "id": f"{agent.agent_id}/cut"})[:-1]
    yield Alert(agent=agent, words="no JSON: cut off", body=cut, expected="invalid_payload")
    disabled = "strategy_disabled"
    yield _alert(agent, "disabled", "to a disabled strategy", buy, to="disabled", expected=disabled)
    yield _alert(agent, "nobody", "to an unknown secret", buy, to="nobody", expected=None)


def _alert(
    agent: Agent,
    name: str,
    words: str,
    said: dict[str, Any],
    *,
    to: Target = "strategy",
    expected: str | None = "executed",
) -> Alert:
    """Return an alert with an id, which is the same never again; a line's end comes last."""
    body = json.dumps({**said, "id": f"{agent.agent_id}/{name}"}) + "\n"
    return Alert(agent=agent, words=words, body=body, to=to, expected=expected)

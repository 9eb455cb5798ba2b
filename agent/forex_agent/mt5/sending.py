"""One order to the broker and its answer: where it is decided what may be called what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from forex_agent import retcodes
from forex_agent.mt5.calls import answered, last_error, maybe_sent, nothing_sent
from forex_agent.mt5.numbers import exact
from forex_agent.mt5.package import Package
from forex_agent.mt5.requests import Request, with_fillings
from forex_agent.mt5.traces import Sent
from forex_agent.terminal import NotSent, Rejected, Symbol, Unknown

# A deal reaches the history a moment after the answer; seconds between looks for it.
PAUSES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
REMEMBERED = timedelta(days=1)
CHECKED = 0  # `order_check`'s word for a request that is in order


class Sender:
    """Sends requests, and remembers those whose outcome nobody knows."""

    def __init__(
        self, package: Package, now: Callable[[], datetime], pause: Callable[[float], object]
    ) -> None:
        self._package = package
        self._now = now
        self._pause = pause
        self._sent: dict[str, Sent] = {}

    def remembered(self, comment: str) -> Sent | None:
        """Return the request of that comment whose outcome is open."""
        return self._sent.get(comment)

    def place(
        self, request: Request, symbol: Symbol, last_look: Callable[[], None]
    ) -> tuple[Any, Sequence[Any]]:
        """Send the request once; return the broker's answer and its deals' rows.

        `last_look` comes right before each `order_send`, and raises `NotSent` where it must not be.
        Only 10030 leads to another attempt: nothing was done, another filling may do.
        """
        for attempt in with_fillings(request, symbol):
            try:
                self._check(attempt)
                last_look()
                answer = self._send(attempt)
            except Rejected as error:
                if error.retcode != retcodes.INVALID_FILL:
                    raise
                refused = error
            else:
                return answer, self._deals(attempt, answer)
        raise refused  # there is at least one filling

    def _check(self, request: Request) -> None:
        """Ask the terminal whether the request is in order: its no comes before anything went."""
        with nothing_sent():
            answer = answered(self._package, "order_check", self._package.order_check(request))
            number = int(answer.retcode)
            if number == CHECKED or retcodes.retcode(number).verdict == "done":
                return
            error = _failure(number, answer.comment)
            if isinstance(error, Unknown):
                code = "disconnected" if number == retcodes.CONNECTION else "not_sent"
                raise NotSent(code, f"order_check: {error} ({number})")
            raise error

    def _send(self, request: Request) -> Any:
        """Call `order_send`; from here on only a definitive answer of the broker is a no."""
        comment = request["comment"]
        self._remember(Sent(request, self._now()))
        with maybe_sent():
            answer = self._package.order_send(request)
            if answer is None:
                number, words = last_error(self._package)
                raise Unknown(f"order_send: {words} ({number})")
            number = int(answer.retcode)
            if retcodes.retcode(number).verdict != "done":
                error = _failure(number, answer.comment)
                if isinstance(error, Rejected):
                    del self._sent[comment]
                else:
                    self._name_order(comment, answer)
                raise error
            self._name_order(comment, answer)
            return answer

    def _deals(self, request: Request, answer: Any) -> Sequence[Any]:
        """Wait until the deals of a filled order are in the history, for a second and a half.

        Without them neither its costs nor its position are known: `Unknown`, and to be found later.
        """
        for pause in PAUSES:
            with maybe_sent(answer.retcode):
                self._pause(pause)
                rows = self._package.history_deals_get(ticket=int(answer.order))
                if rows and _volume(rows) >= exact(answer.volume):
                    del self._sent[request["comment"]]
                    return rows
        raise Unknown("filled, but its deals are not in the history yet", retcode=answer.retcode)

    def _remember(self, sent: Sent) -> None:
        self._sent = {
            comment: one for comment, one in self._sent.items() if sent.at - one.at < REMEMBERED
        }
        self._sent[sent.request["comment"]] = sent

    def _name_order(self, comment: str, answer: Any) -> None:
        self._sent[comment] = replace(self._sent[comment], order=int(answer.order))


def _volume(deals: Sequence[Any]) -> Decimal:
    return sum((exact(deal.volume) for deal in deals), Decimal())


def _failure(number: int, words: str) -> Rejected | Unknown:
    meaning = retcodes.retcode(number).meaning
    return retcodes.failure(number, f"{meaning} ({words})" if words else meaning)

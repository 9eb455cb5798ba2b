"""Questions about the account, its positions and its candles: they may be asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forex_agent import wire
from forex_agent.hands import Hands, Hung, Rank
from forex_agent.job import Job, Json, Report, failed
from forex_agent.terminal import NotSent, Rejected, Terminal, TerminalError

LONGEST_CANDLES = 10_000
LONGEST_ANSWER = 1024 * 1024 - 4096  # bytes; the service takes 1 MiB with all that is around it


@dataclass(frozen=True, slots=True)
class Reads:
    """Answers `get_positions`, `get_account` and `get_candles`."""

    hands: Hands

    async def do(self, job: Job) -> Report:
        """Return the report; a terminal that does not answer is a failure."""
        try:
            read = _READS[job.job_type](job)
            return _reported(await self.hands.call(read, Rank.READ))
        except wire.InvalidInput as error:
            return failed("invalid_input", str(error))
        except Hung as error:
            return failed("timeout", str(error))
        except (NotSent, Rejected) as error:
            return failed(error.code, str(error))
        except TerminalError as error:
            return failed("disconnected", str(error))


def _reported(output: Json) -> Report:
    """Return the report of an answer, or that it is too long: who asks hears of it at once."""
    length = len(json.dumps(output))
    if length <= LONGEST_ANSWER:
        return Report(status="completed", output=output)
    return failed(
        "answer_too_large", f"the answer has {length} bytes, {LONGEST_ANSWER} at most can be sent"
    )


def _positions(_: Job) -> Callable[[Terminal], Json]:
    return lambda terminal: {"positions": [wire.position(one) for one in terminal.positions()]}


def _account(_: Job) -> Callable[[Terminal], Json]:
    return lambda terminal: wire.account(terminal.account())


def _candles(job: Job) -> Callable[[Terminal], Json]:
    symbol = wire.text(job.input, "instrument")
    timeframe = wire.text(job.input, "timeframe")
    count = wire.whole(job.input, "count", 200)
    if not 0 < count <= LONGEST_CANDLES:
        raise wire.InvalidInput(f"count: from 1 to {LONGEST_CANDLES}")

    def read(terminal: Terminal) -> Json:
        return {"candles": [wire.candle(one) for one in terminal.candles(symbol, timeframe, count)]}

    return read


_READS: Mapping[str, Callable[[Job], Callable[[Terminal], Json]]] = {
    "get_positions": _positions,
    "get_account": _account,
    "get_candles": _candles,
}
READS = frozenset(_READS)

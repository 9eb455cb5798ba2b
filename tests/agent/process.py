"""An agent in a process of its own, with a terminal on paper, that may die at one point.

`python -m tests.agent.process PAPER POINT ARGUMENT…`: POINT is empty, or such as `intent:after`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forex_agent import cli
from forex_agent.journal import Journal
from forex_agent.lease import Lease

from tests.agent.paper import Paper

POINTS: dict[str, type] = {
    "received": Journal,
    "intent": Journal,
    "sent": Journal,
    "send": Paper,
    "_deal": Paper,
    "outcome": Journal,
    "report": Lease,
    "acked": Journal,
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(point: str) -> None:
    """Have the process die before or after the first call of that name."""
    name, when = point.split(":")
    owner = POINTS[name]
    before = getattr(owner, name)
    if name == "report":
        setattr(owner, name, _around_async(before, when))
    else:
        setattr(owner, name, _around(before, when))


def _around(call: Callable[..., Any], when: str) -> Callable[..., Any]:
    def around(*values: Any) -> Any:
        if when == "before":
            die()
        result = call(*values)
        die()
        return result

    return around


def _around_async(call: Callable[..., Any], when: str) -> Callable[..., Any]:
    async def around(*values: Any) -> Any:
        if when == "before":
            die()
        result = await call(*values)
        die()
        return result

    return around


def main() -> int:
    paper, point, *arguments = sys.argv[1:]
    if point:
        die_at(point)
    driver = Paper(Path(paper), faults=os.environ.get("PAPER_FAULTS", "").split(",")).driver
    cli.__dict__["driver"] = lambda _settings: driver
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())

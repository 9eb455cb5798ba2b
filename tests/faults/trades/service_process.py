"""`python -m api serve`, with points at which it dies: the file KILL_AT names one.

`before` a request: it is there, nothing was done. `after` it: what it did is committed, and nobody
has heard of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from starlette.types import Message, Receive, Scope, Send

from api.__main__ import main
from api.middleware import AccessLog
from api.parking import Asked, Parking
from api.places import Waiter
from tests.faults.trades.fuse import Fuse

REQUESTS = {
    "order": ("POST", re.compile(r"/orders$")),
    "close": ("DELETE", re.compile(r"/positions/")),
    "next": ("GET", re.compile(r"/jobs/next$")),
    "start": ("POST", re.compile(r"/start$")),
    "result": ("POST", re.compile(r"/result$")),
    "deals": ("POST", re.compile(r"/deals$")),
}
POINTS = tuple(f"{when} {name}" for name in REQUESTS for when in ("before", "after"))


def wire(fuse: Fuse) -> None:
    """Lead every request past the fuse, at its begin and before its answer leaves."""
    real = AccessLog.__call__

    async def wrapped(self: AccessLog, scope: Scope, receive: Receive, send: Send) -> None:
        names = list(_names(scope))

        async def answering(message: Message) -> None:
            for name in names:
                if message["type"] == "http.response.body" and _tells(name, message):
                    fuse.passed(f"after {name}")
            await send(message)

        for name in names:
            fuse.passed(f"before {name}")
        await real(self, scope, receive, answering)

    setattr(AccessLog, "__call__", wrapped)  # noqa: B010 - the type checker forbids the plain form
    _wire_parked(fuse)


def _wire_parked(fuse: Fuse) -> None:
    """Lead polls past the fuse whose jobs are handed out at their connection."""
    real = Parking._jobs

    def wrapped(self: Parking, asked: Asked, waiter: Waiter) -> bytes | None:
        fuse.passed("before next")
        body = real(self, asked, waiter)
        fuse.passed("after next")
        return body

    setattr(Parking, "_jobs", wrapped)  # noqa: B010 - likewise


def _names(scope: Scope) -> Iterator[str]:
    if scope["type"] == "http":
        for name, (method, path) in REQUESTS.items():
            if scope["method"] == method and path.search(scope["path"]):
                yield name


def _tells(name: str, message: Message) -> bool:
    """Whether the answer would be missed; a poll without a job is none that could get lost."""
    return name != "next" or b'"job_id"' in message.get("body", b"")


if __name__ == "__main__":
    wire(Fuse(Path(os.environ["KILL_AT"])))
    sys.exit(main(sys.argv[1:]))

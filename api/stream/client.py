"""One connected client: a slot per instrument for what its connection does not take yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.stream.allowance import Allowance
from api.stream.counts import Counts
from api.stream.messages import BAD_MESSAGE, MOST_INSTRUMENTS, SLOW, Closing
from api.stream.protocol import Link

if TYPE_CHECKING:
    from api.stream.viewers import Viewer

SEND_SECONDS = 5.0  # how long a client may take no byte
MESSAGES_PER_SECOND = 10
MOST_WAITING = MOST_INSTRUMENTS + 32  # a price of each, and answers that nobody reads


class Together:
    """While a block lasts, what is posted to a client is put off, and written at once at its end.

    The kernel's `send` is most of what a delivery costs: ten prices in one cost a sixth of ten.
    """

    def __init__(self) -> None:
        """Nothing is put off."""
        self._clients: dict[Client, None] | None = None

    def put_off(self, client: Client) -> bool:
        """Tell whether to wait for the end of a block, which then has the client write."""
        if self._clients is None:
            return False
        self._clients[client] = None
        return True

    @contextmanager
    def block(self) -> Iterator[None]:
        """Put off what is posted meanwhile."""
        self._clients = {}
        try:
            yield
        finally:
            clients, self._clients = self._clients, None
            for client in clients:
                client.flush()


class Client:
    """Writes to one connection: at once, or as soon as it takes something again.

    Of an instrument only the newest price waits. `paused` and `resumed` are called by the link.
    """

    __slots__ = (
        "_allowance",
        "_counts",
        "_link",
        "_loop",
        "_slots",
        "_timer",
        "_together",
        "expires",
        "instruments",
        "spoke",
        "viewer",
    )

    def __init__(self, link: Link, counts: Counts, together: Together) -> None:
        self._link = link
        self._counts = counts
        self._together = together
        self._loop = link.loop
        self._slots: dict[object, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._allowance = Allowance(MESSAGES_PER_SECOND)
        self.spoke = self._loop.time()
        self.instruments: dict[str, None] = {}
        self.viewer: Viewer | None = None
        self.expires = float("inf")  # when its token does, in seconds since 1970
        link.writer = self

    def post(self, message: bytes, slot: object = None) -> None:
        """Write a frame, or keep it; in a slot, an instrument's, it takes the older one's place."""
        if self._link.takes and not self._together.put_off(self) and not self._slots:
            self._write(message)
            return
        slot = slot or object()
        self._counts.conflated += slot in self._slots
        self._slots[slot] = message
        if len(self._slots) > MOST_WAITING:
            self._cut_off()

    def withdraw(self, instrument: str) -> None:
        """Do not send what waits of the instrument."""
        self._slots.pop(instrument, None)

    def spend(self) -> None:
        """Count a message of the client's; Closing 4400 for more than ten a second."""
        if not self._allowance.spend():
            raise Closing(BAD_MESSAGE, f"at most {MESSAGES_PER_SECOND} messages a second")

    def end(self, code: int, reason: str = "") -> None:
        """Close the connection; nothing that waits is sent before."""
        self.forget()
        self._link.end(code, reason)

    def forget(self) -> None:
        """Keep nothing more: the connection is at its end."""
        self._slots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def paused(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(SEND_SECONDS, self._cut_off)

    def resumed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._slots and self._link.takes:
            self._write(self._slots.pop(next(iter(self._slots))))

    def flush(self) -> None:
        """Write what was put off, in one piece; of who does not read, it goes on waiting."""
        if self._slots and self._link.takes:
            messages = list(self._slots.values())
            self._slots.clear()
            self._write(b"".join(messages), len(messages))

    def _write(self, message: bytes, messages: int = 1) -> None:
        if self._link.write(message):
            self._counts.delivered += messages
            self.spoke = self._loop.time()

    def _cut_off(self) -> None:
        self._counts.slow += 1
        self.end(SLOW, "the client does not read")

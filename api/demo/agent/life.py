"""What an agent does besides its jobs: it says that it lives, and what its instruments cost."""

from __future__ import annotations

import contextlib
import threading
from http import HTTPStatus

from api.demo.agent.client import Client, Unreachable
from api.demo.agent.journal import Journal
from api.demo.agent.terminal import Terminal

BEAT_SECONDS = 5.0  # the service asks for one in 30 s; the demo is shorter than that
PRICES_SECONDS = 0.25


def beat(client: Client, path: str, stop: threading.Event) -> None:
    """Say so at once, then again and again; a beat that is lost is followed by the next."""
    while True:
        with contextlib.suppress(Unreachable):
            client.post(f"{path}/heartbeat", {"status": "online", "version": "demo"})
        if stop.wait(BEAT_SECONDS):
            return


def push_prices(
    client: Client, path: str, terminal: Terminal, journal: Journal, stop: threading.Event
) -> None:
    """Push prices until the end; the journal has those that the service took."""
    while not stop.wait(PRICES_SECONDS):
        prices = terminal.tick()
        try:
            answer = client.post(f"{path}/prices", prices)
        except Unreachable:
            continue
        if answer.status == HTTPStatus.OK:
            journal.write("prices", prices=prices)

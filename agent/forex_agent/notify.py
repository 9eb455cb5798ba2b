"""What systemd hears of the agent, where it listens (`NOTIFY_SOCKET`)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger("forex_agent.notify")


class Notify:
    """Sends READY=1, WATCHDOG=1 and STOPPING=1; nothing at all without systemd."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(usec) / 1e6 if usec.isdigit() else None
        """How long systemd waits for a sign of life; None where it does not."""

    def send(self, word: str) -> None:
        """Send one word, such as READY=1."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(word.encode(), address)
            except OSError as error:
                log.warning("systemd does not hear %s: %s", word, error)

"""The agent's process: `python -m api.demo.agent`, told by one line of JSON on standard input.

The line names `url`, `agent_id`, `agent_key`, `journal`, `seed` and `symbols`. SIGTERM ends the
agent after the job in its hands; the end of standard input ends it at once, as whoever started it
is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from api.demo.agent.client import Client
from api.demo.agent.journal import Journal
from api.demo.agent.life import beat, push_prices
from api.demo.agent.terminal import Terminal
from api.demo.agent.work import Worker, deals


def main() -> None:
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, daemon=True).start()
    client = Client(told["url"], {"X-Agent-Key": told["agent_key"]})
    with Journal(Path(told["journal"])) as journal:
        terminal = Terminal(told["seed"], told["symbols"], deals(journal.before))
        journal.write("started")
        live(Worker(client, f"/api/v1/agents/{told['agent_id']}", terminal, journal))


def live(worker: Worker) -> None:
    """Work, say so and push prices, until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _stop(worker, stop))
    client, path = worker.client, worker.path
    # A daemon: the end does not wait for a beat.
    threading.Thread(target=beat, args=(client, path, stop), daemon=True).start()
    pushing = (client, path, worker.terminal, worker.journal, stop)
    prices = threading.Thread(target=push_prices, args=pushing)
    prices.start()
    try:
        worker.run(stop)
    finally:
        stop.set()
        prices.join()


def _stop(worker: Worker, stop: threading.Event) -> None:
    stop.set()
    if worker.idle:
        sys.exit()


def _watch() -> None:
    sys.stdin.read()
    os._exit(1)  # the service is gone too: nobody would acknowledge anything


if __name__ == "__main__":
    main()

"""`python -m forex_agent.simulated BOOK …`: look into a book, switch faults on and off."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from forex_agent.simulated.book import read_book
from forex_agent.simulated.faults import KINDS, clear, inject


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    given = _parser().parse_args(arguments)
    if not given.book.is_file():
        raise SystemExit(f"BOOK: there is no file {given.book}")
    if given.command == "show":
        print(_shown(given.book))
    elif given.command == "clear":
        clear(given.book, given.kind)
    else:
        _inject(given)


def _inject(given: argparse.Namespace) -> None:
    times = None if given.always else given.times
    try:
        inject(given.book, given.kind, times=times, seconds=given.seconds, calls=given.calls)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m forex_agent.simulated", description=__doc__)
    parser.add_argument("book", type=Path, help="the account's SQLite file")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print the account")
    switch = commands.add_parser("inject", help="switch a fault on")
    switch.add_argument("kind", choices=KINDS)
    switch.add_argument("--times", type=int, default=1, help="for so many calls (default 1)")
    switch.add_argument("--always", action="store_true", help="until it is cleared")
    switch.add_argument("--seconds", type=float, help="how long it lasts")
    switch.add_argument("--calls", choices=("trade", "all"), help="which calls it strikes")
    off = commands.add_parser("clear", help="switch faults off")
    off.add_argument("kind", choices=KINDS, nargs="?", help="all where none is named")
    return parser


def _shown(path: Path) -> str:
    state = read_book(path)
    lines = [f"balance {state.balance} {state.currency}, leverage 1:{state.leverage}"]
    lines += [f"position {p.ticket} {p.side} {p.volume} {p.symbol}" for p in state.positions]
    for d in state.deals:
        lines.append(f"deal {d.deal_id} {d.entry} {d.side} {d.volume} {d.symbol} {d.price}")
        lines[-1] += f" {d.profit} {d.comment}"
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""How commands show what they found: JSON for programs, aligned tables and times for people."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

_GAP = "  "
_LEAST = 8  # a shortened column keeps so many characters
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line to standard error: what is no part of the answer."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(value: Any) -> None:
    """Write one JSON document; records have their fields, times are ISO 8601."""
    say(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def say_lines(records: Iterable[Any]) -> None:
    """Write one JSON document per line (NDJSON)."""
    for record in records:
        say(orjson.dumps(record).decode())


def table(
    titles: Sequence[str], rows: Iterable[Sequence[Any]], *, shorten: Sequence[int] = ()
) -> str:
    """Return aligned columns, numbers to the right.

    On a terminal that is too narrow the columns `shorten` are cut, each cut marked by `…`; what
    goes into a file or a pipe is never cut.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    if sys.stdout.isatty():
        _narrow(widths, shorten, shutil.get_terminal_size().columns)
    numeric = [all(_is_number(row[at]) for row in cells) for at in range(len(titles))]
    return "\n".join(
        _GAP.join(
            _fit(cell, width, right=right)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(titles), *cells]
    )


def _narrow(widths: list[int], shorten: Sequence[int], columns: int) -> None:
    """Cut the widest of the columns that may be cut, until all fit or none can give more."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > columns:
        widest = max(shorten, key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _fit(cell: str, width: int, *, right: bool) -> str:
    cut = cell if len(cell) <= width else cell[: width - 1] + "…"
    return cut.rjust(width) if right else cut.ljust(width)


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").isdigit()


def duration(seconds: float) -> str:
    """Return a time span with its two largest units: `2h 5m`."""
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def relative(time: datetime, now: datetime | None = None) -> str:
    """Return how far a time is from now: `3m 20s ago`, `in 2h`."""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def details(record: Any) -> str:
    """Return the fields of a record that have a value, a line each."""
    fields = {name: getattr(record, name) for name in type(record).__dataclass_fields__}
    shown = {name: _value(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown.items())


def _value(value: Any) -> str:
    if isinstance(value, datetime):
        at = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{at} ({relative(value)})"
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return str(value)


def tally(verdicts: Iterable[str]) -> str:
    """Count verdicts: `12 ok, 3 conflict`."""
    counts = Counter(verdicts)
    return ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items()) or "none"

"""What the stream counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """The counters of one process."""

    clients: int = 0  # connected now
    delivered: int = 0  # messages written
    conflated: int = 0  # prices that a newer one replaced before they could be written
    slow: int = 0  # clients that were cut off because they did not read
    gaps: int = 0  # instruments of which prices may have been missed
    refused: int = 0  # connections above the limit

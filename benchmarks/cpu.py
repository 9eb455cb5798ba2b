"""Processor time, which says more than the clock on a machine that others use too."""

from __future__ import annotations

import os
from pathlib import Path

# Fields of /proc/PID/stat after the name: state, ppid, …
_PPID, _USED = 1, slice(11, 13)
_USED_WITH_CHILDREN = slice(11, 15)


def tree_cpu(pid: int | None) -> float | None:
    """Seconds used by a process and its children, those that have ended too; None: cannot tell."""
    if pid is None or not Path("/proc/self/stat").exists():
        return None
    # Who ends while we read is counted twice, or not at all: read until nobody did.
    before: frozenset[str] | None = None
    children, ticks = _family(pid)
    while children != before:
        before = children
        children, ticks = _family(pid)
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> tuple[frozenset[str], int]:
    """Return the living children, and the ticks used by all."""
    children = set()
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if stat.parent.name == str(pid):
            ticks += sum(map(int, fields[_USED_WITH_CHILDREN]))
        elif fields[_PPID] == str(pid):
            children.add(stat.parent.name)
            ticks += sum(map(int, fields[_USED]))
    return frozenset(children), ticks

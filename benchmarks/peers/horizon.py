"""What is left of the speed when somebody holds a snapshot, so that nothing can be cleaned up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psycopg

from benchmarks.peers.bench import Bench, Workload
from benchmarks.peers.child import Child, SideFailed, Team, producer, team
from benchmarks.peers.side import Side
from benchmarks.report import Column, Sample

HOLD_SECONDS, _LAST_SECONDS = 120.0, 10.0
_WAITING, _FEED = 20_000, 10_000


def horizon(bench: Bench, side: Side) -> Sample:
    """The same closed loop twice, each in a new database."""
    free = _loop(bench, side, held=False)
    held = _loop(bench, side, held=True)
    if not free:
        raise SideFailed(f"{side.name}: it stood still, with no snapshot held")
    return {"free_per_second": free, "held_per_second": held, "part": held / free}


def _loop(bench: Bench, side: Side, *, held: bool) -> float:
    """Keep 10,000 to 20,000 jobs waiting for one worker process; return its last rate."""
    seconds = 2.0 if bench.quick else HOLD_SECONDS
    with (
        bench.stores.store(side) as store,
        producer(bench.environment, side, store.url) as child,
        team(bench.environment, side, store.url, 1) as workers,
        _snapshot(store.url) if held else nullcontext(),
    ):
        child.ask(do="many", first=0, jobs=_WAITING)
        workers.go()
        workers.until(1)
        marks = list(_feed(child, workers, seconds))
    return last_rate(marks, min(_LAST_SECONDS, seconds / 2))


@contextmanager
def _snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as conn:
        conn.execute("set transaction isolation level repeatable read")
        conn.execute("select 1")
        yield


def _feed(child: Child, workers: Team, seconds: float) -> Iterator[tuple[float, int]]:
    """Yield how many jobs were run by when."""
    put = _WAITING
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        calls = workers.calls
        yield now, calls
        workers.look(late=False, told=f"{calls} jobs were run")
        if put - calls <= _WAITING - _FEED:
            child.ask(do="many", first=put, jobs=_FEED)
            put += _FEED
        else:
            time.sleep(0.01)
    yield time.monotonic(), workers.calls


def last_rate(marks: list[tuple[float, int]], seconds: float) -> float:
    """Return calls a second in about the last so many seconds."""
    end, calls = marks[-1]
    begin, before = max(mark for mark in marks if mark[0] <= end - seconds)
    return (calls - before) / (end - begin)


HORIZON = Workload(
    "horizon",
    "A snapshot is held for 120 s while 10,000 to 20,000 jobs wait for one worker process: how many"
    " jobs a second does it run in the last 10 s, and without the snapshot?",
    (
        Column("held_per_second", "jobs/s, last 10 s, held"),
        Column("free_per_second", "jobs/s, last 10 s, free"),
        Column("part", "held / free", digits=2, better="more"),
    ),
    horizon,
    lambda side: not side.redis,
)

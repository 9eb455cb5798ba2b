"""The figures of a run, from a small history."""

from __future__ import annotations

from tests.chaos import report
from tests.history import Claimed, Enqueued, History, Ordered, Reported

DONE = Reported("t", "j", 2, "completed", 3.0, "ok", "completed", 3.5)
LATE = Reported("u", "j", 1, "completed", 4.0, "stale_lease", None, 4.1)
FIRST = Claimed("a/1", "j", 1, 1, 1.0, 0.0, 0.1)
AGAIN = Claimed("b/1", "j", 2, 2, 1.0, 1.5, 1.6)
HISTORY = History(
    [Enqueued("k", "j")],
    [FIRST, AGAIN, AGAIN],
    [Reported("s", "j", 2, "start", 1.7, "ok"), DONE, LATE],
    [Ordered("cancel", "j", 1.0)],
)


def test_operations_are_counted_item_by_item() -> None:
    assert report.operations(HISTORY) == {
        "enqueue": 1,
        "claim": 3,
        "start": 1,
        "finish": 2,
        "cancel": 1,
    }


def test_a_lease_that_was_told_twice_is_one_redelivery() -> None:
    assert report.redeliveries(HISTORY) == 1
    assert report.stale(HISTORY.reported) == 1


def test_recovery_ends_with_a_job_that_was_finished_after_the_interruption() -> None:
    interruptions = [("crash", 2.0), ("fast", 2.9), ("fast", 3.2)]
    found = report.recoveries(interruptions, HISTORY)
    assert [round(seconds, 3) for seconds in found] == [1.5, 0.6]
    assert report.middle(found) == ((1.5 + (3.5 - 2.9)) / 2, 1.5)
    assert report.middle([]) == (None, None)


def test_the_table_names_every_figure() -> None:
    made = report.Report(
        seed=1,
        profile="all",
        seconds=5,
        faults={"kill": 2, "crash": 1},
        operations={"claim": 3},
        jobs=4,
        parents=1,
        moves=9,
        redeliveries=1,
        stale=1,
        interruptions=1,
        recovery_median=0.5,
        recovery_worst=0.7,
        recoveries=1,
        drain=1.25,
        violations=["no_lost_job: j is gone"],
    )
    text = "\n".join(made.lines())
    for figure in ("1, all, 5 s", "3: crash 1, kill 2", "median 0.50 s", "worst 0.70 s", "1.2 s"):
        assert figure in text
    assert text.endswith("violations  1")
    assert made.as_json()["violations"] == ["no_lost_job: j is gone"]

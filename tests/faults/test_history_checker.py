"""The checker finds each kind of violation in a small history, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.history import (
    Audit,
    Claimed,
    Enqueued,
    Final,
    History,
    Move,
    Ordered,
    Parent,
    Reported,
    read,
)
from tests.invariants import violations

CLAIM = Claimed("a/1", "j", epoch=1, attempt=1, seconds=1.0, asked=0.0, answered=0.1)
FAILED = Reported("a/2/0", "j", 1, "failed", 0.5, "retried", "pending")
AGAIN = Claimed("b/1", "j", epoch=2, attempt=2, seconds=1.0, asked=0.6, answered=0.7)
DONE = Reported("b/2/0", "j", 2, "completed", 0.8, "ok", "completed")
LATE = Reported("a/3/0", "j", 1, "completed", 2.0, "stale_lease")
FINAL = Final(
    "j", "k", epoch=2, attempt=2, token="b/2/0", failures=("a/2/0",), settled={"completed": 1}
)


def judged(
    *,
    enqueued: list[Enqueued] | None = None,
    claimed: list[Claimed] | None = None,
    reported: list[Reported] | None = None,
    ordered: list[Ordered] | None = None,
    finals: list[Final] | None = None,
) -> list[str]:
    """Judge a good history of which a part is replaced."""
    history = History(
        [Enqueued("k", "j")] if enqueued is None else enqueued,
        [CLAIM, AGAIN] if claimed is None else claimed,
        [FAILED, DONE, LATE] if reported is None else reported,
        ordered or [],
    )
    return violations(history, [FINAL] if finals is None else finals)


def test_a_good_history_has_no_violation() -> None:
    assert judged() == []


def test_a_call_without_an_answer_may_have_happened_or_not() -> None:
    unknown = replace(DONE, verdict=None, status=None)
    assert judged(enqueued=[Enqueued("k"), Enqueued("other")], reported=[FAILED, unknown]) == []


def test_no_lost_job() -> None:
    assert judged(finals=[]) == ["no_lost_job: j is gone"]
    assert judged(enqueued=[]) == ["no_lost_job: j was never enqueued"]
    assert judged(finals=[replace(FINAL, places=2)]) == ["no_lost_job: j is in 2 tables"]
    left = replace(FINAL, status=None, epoch=0, attempt=0, token=None, settled={})
    assert judged(reported=[FAILED], finals=[left]) == ["no_lost_job: j has not ended"]


def test_one_job_per_key() -> None:
    twice = [Enqueued("k", "j"), Enqueued("k", "i")]
    assert "one_job_per_key: k has 2" in judged(enqueued=twice)
    assert "one_job_per_key: k has 2" in judged(finals=[FINAL, replace(FINAL, job="i")])


def test_no_double_claim_of_one_lease() -> None:
    twice = replace(AGAIN, call="c/1", asked=0.72, answered=0.75)
    assert judged(claimed=[CLAIM, AGAIN, twice]) == ["no_double_claim: j epoch 2 was given twice"]


@pytest.mark.parametrize(
    "reported",
    [
        pytest.param([DONE], id="nobody gave it back"),
        pytest.param([replace(FAILED, asked=0.75), DONE], id="it was given back after that"),
        pytest.param([replace(FAILED, verdict="conflict", status=None), DONE], id="a refused end"),
    ],
)
def test_no_double_claim_of_a_live_job(reported: list[Reported]) -> None:
    found = judged(reported=reported, finals=[replace(FINAL, failures=())])
    assert "no_double_claim: j epoch 2 came while the last was live" in found


def test_no_double_claim_of_a_lease_that_was_kept() -> None:
    keep = Reported("a/2/0", "j", 1, "extend", 0.9, "ok", None)
    late_claim = replace(AGAIN, asked=1.5, answered=1.6)
    done = replace(DONE, asked=1.7)
    final = replace(FINAL, failures=())
    found = judged(claimed=[CLAIM, late_claim], reported=[keep, done], finals=[final])
    assert found == ["no_double_claim: j epoch 2 came while the last was live"]
    assert judged(claimed=[CLAIM, late_claim], reported=[done], finals=[final]) == []


def test_no_stale_effect_of_a_refused_report() -> None:
    shown = "no_stale_effect: j shows a report that was refused"
    assert shown in judged(finals=[replace(FINAL, token=LATE.token)])
    assert shown in judged(finals=[replace(FINAL, failures=(FAILED.token, LATE.token))])


@pytest.mark.parametrize("outcome", ["completed", "failed", "snooze", "release", "extend"])
def test_no_stale_effect_of_a_report_after_a_newer_lease(outcome: str) -> None:
    heard = replace(FAILED, token="a/3/0", outcome=outcome, asked=0.75)
    found = judged(reported=[FAILED, heard, DONE], finals=[replace(FINAL, failures=("a/2/0",))])
    assert "no_stale_effect: j heard epoch 1 after a newer lease" in found


def test_no_stale_effect_of_a_report_that_nobody_answered() -> None:
    unheard = replace(DONE, epoch=1, verdict=None, status=None)
    assert judged(reported=[FAILED, unheard]) == ["no_stale_effect: j was ended by epoch 1"]


def test_one_end() -> None:
    second = replace(DONE, token="b/3/0", asked=0.9)
    assert "one_end: j was accepted 2 times" in judged(reported=[FAILED, DONE, second])


@pytest.mark.parametrize(
    "final",
    [
        replace(FINAL, status="failed", settled={"failed": 1}),
        replace(FINAL, epoch=3),
        replace(FINAL, token=None),
    ],
    ids=["status", "epoch", "token"],
)
def test_one_end_as_it_was_acknowledged(final: Final) -> None:
    assert "one_end: j ended otherwise than was acknowledged" in judged(finals=[final])


def test_a_failure_that_was_acknowledged_stays() -> None:
    found = judged(finals=[replace(FINAL, failures=())])
    assert found == ["one_end: j forgot a failure that was acknowledged"]


def test_an_unknown_end_may_be_resolved_once() -> None:
    unknown = replace(DONE, outcome="unknown", status="unknown")
    resolved = replace(DONE, token="b/3/0", asked=0.9)
    final = replace(FINAL, token="b/3/0")
    assert judged(reported=[FAILED, unknown, resolved], finals=[final]) == []


def test_no_lost_job_of_a_transaction_that_was_rolled_back() -> None:
    ghost = [Enqueued("k", rolled_back=True)]
    assert judged(enqueued=ghost) == ["no_lost_job: j was never enqueued"]


def test_a_lease_may_be_given_again_to_its_own_request() -> None:
    first = replace(AGAIN, request="r")
    again = replace(first, call="b/3", answered=0.9)
    assert judged(claimed=[CLAIM, first, again]) == []
    other = replace(again, request="s")
    found = judged(claimed=[CLAIM, first, other])
    assert found == ["no_double_claim: j epoch 2 was given twice"]


@pytest.mark.parametrize(
    "asked, request_id, found",
    [
        (0.6, "r", ["no_lost_claim: i epoch 1 was taken and not told to who repeated"]),
        (0.6, "s", []),
        (-1.0, "r", []),  # the first try's leases may have run out before the repeat
    ],
)
def test_no_lost_claim(asked: float, request_id: str, found: list[str]) -> None:
    repeat = replace(AGAIN, request="r", asked=asked)
    moves = [Move("j", "running", 2, "r"), Move("i", "running", 1, request_id)]
    judged = violations(History(claimed=[repeat]), [], Audit(moves=moves))
    assert [line for line in judged if line.startswith("no_lost_claim")] == found


def test_a_repeat_is_one_report_with_its_first_try() -> None:
    unheard = replace(DONE, verdict=None, status=None)
    repeat = replace(DONE, verdict="duplicate", asked=0.9)
    assert judged(reported=[FAILED, unheard, repeat]) == []
    assert "no_stale_effect: j shows a report that was refused" in judged(reported=[FAILED, repeat])


def test_no_stale_effect_of_a_start_that_was_said_to_be_a_repeat() -> None:
    heard = Reported("a/3/0", "j", 1, "start", 0.75, "duplicate")
    found = judged(reported=[FAILED, heard, DONE])
    assert found == ["no_stale_effect: j heard epoch 1 after a newer lease"]


def test_a_holder_and_the_sweep_may_stop_a_job_in_the_same_words() -> None:
    late = replace(DONE, token="reason", outcome="cancelled", verdict="duplicate", status=None)
    final = replace(FINAL, status="cancelled", token="reason", settled={"cancelled": 1})
    assert judged(reported=[FAILED, late], finals=[final]) == []


@pytest.mark.parametrize("outcome", ["start", "extend"])
@pytest.mark.parametrize(
    "verdict, epoch, broken",
    [("ok", 2, 0), (None, 2, 0), ("ok", 1, 1), ("stale_lease", 2, 1)],
)
def test_no_stale_effect_on_the_lease_of_another(
    outcome: str, verdict: str | None, epoch: int, broken: int
) -> None:
    said = Reported("b/0/0", "j", epoch, outcome, 0.75, verdict)
    found = violations(History(reported=[said]), [], Audit(kept=[("j", 2), ("j", 2)]))
    assert found == broken * ["no_stale_effect: j epoch 2 was kept by none of its holders"]


STARTED = Reported("a/0/0", "j", 1, "start", 0.2, "ok")
ONCE = replace(FINAL, delivery="at_most_once")


def test_at_most_once() -> None:
    again = ["at_most_once: j was handed out again after epoch 1 had begun"]
    assert judged(reported=[STARTED, FAILED, DONE], finals=[ONCE]) == again
    assert judged(reported=[STARTED, FAILED, DONE]) == []
    snoozed = replace(FAILED, outcome="snooze")
    once = replace(ONCE, failures=())
    assert judged(reported=[STARTED, snoozed, DONE], finals=[once]) == []


RETRIED = Ordered("retry", "j", asked=0.52, answered=0.55, verdict="ok", status="pending")
GAVE_UP = replace(FAILED, outcome="rejected", verdict="ok", status="failed")


@pytest.mark.parametrize("verdict", ["ok", None])
def test_an_end_may_be_undone_by_a_retry(verdict: str | None) -> None:
    retried = replace(RETRIED, verdict=verdict)
    assert judged(reported=[GAVE_UP, DONE], ordered=[retried]) == []


@pytest.mark.parametrize(
    "ordered",
    [
        pytest.param([], id="nobody retried"),
        pytest.param([replace(RETRIED, verdict="conflict")], id="it was refused"),
        pytest.param([replace(RETRIED, asked=0.1, answered=0.2)], id="it came before"),
        pytest.param([replace(RETRIED, what="cancel")], id="it was cancelled"),
    ],
)
def test_one_end_without_a_retry(ordered: list[Ordered]) -> None:
    assert "one_end: j was accepted 2 times" in judged(reported=[GAVE_UP, DONE], ordered=ordered)


def test_a_completed_end_is_never_undone() -> None:
    done = replace(GAVE_UP, outcome="completed", status="completed")
    found = judged(reported=[done, DONE], ordered=[RETRIED])
    assert "one_end: j was accepted 2 times" in found


def test_a_job_that_was_cancelled_stays_so() -> None:
    cancelled = Ordered("cancel", "j", 0.52, 0.55, "ok", "cancelled")
    assert judged(ordered=[cancelled]) == ["one_end: j is completed after it was cancelled"]
    assert judged(ordered=[replace(cancelled, status="running")]) == []
    assert judged(ordered=[cancelled, replace(RETRIED, asked=0.56, answered=0.57)]) == []


def test_a_cancel_may_end_a_lease() -> None:
    early = replace(AGAIN, asked=0.3, answered=0.4)
    cancelled = Ordered("cancel", "j", 0.2, 0.25, "ok", "cancelled")
    ordered = [cancelled, replace(RETRIED, asked=0.26, answered=0.3)]
    final = replace(FINAL, failures=())
    assert judged(claimed=[CLAIM, early], reported=[DONE], ordered=ordered, finals=[final]) == []


CHILD = replace(FINAL, parent="p")
PARENT = Parent("p", 1, {"completed": 1, "failed": 0})


@pytest.mark.parametrize(
    "parents, found",
    [
        ([PARENT], []),
        ([replace(PARENT, jobs=2)], ["no_lost_job: parent p has 1 of 2 jobs"]),
        ([], ["no_lost_job: parent p was rolled back, its jobs were not"]),
        (
            [replace(PARENT, counted={"completed": 2})],
            ["settled_equals_ended: parent p counts 2 completed, its jobs 1"],
        ),
        (
            [replace(PARENT, counted={"failed": 1})],
            ["settled_equals_ended: parent p counts 1 failed, its jobs 0"],
        ),
    ],
)
def test_parents(parents: list[Parent], found: list[str]) -> None:
    history = History([Enqueued("k", "j")], [CLAIM, AGAIN], [FAILED, DONE])
    assert violations(history, [CHILD], Audit(parents=parents)) == found


LEGAL = frozenset(
    {
        ("none", "pending"),
        ("pending", "running"),
        ("pending", "expired"),
        ("running", "pending"),
        ("running", "completed"),
    }
)


@pytest.mark.parametrize(
    "steps, found",
    [
        ("pending/0 running/1 pending/1 running/2 completed/2", []),
        ("pending/0 expired/0", []),
        ("pending/0 expired/1", []),
        ("pending/0 completed/0", ["legal_moves: j went from pending to completed"]),
        ("running/0", ["legal_moves: j went from none to running"]),
        ("pending/0 running/0", ["legal_moves: j came from epoch 0 to 0"]),
        ("pending/0 running/1 pending/0", ["legal_moves: j came from epoch 1 to 0"]),
        ("pending/0 running/2", ["legal_moves: j came from epoch 0 to 2"]),
    ],
)
def test_legal_moves(steps: str, found: list[str]) -> None:
    words = [step.split("/") for step in steps.split()]
    moves = [Move("j", status, int(epoch)) for status, epoch in words]
    assert violations(History(), [], Audit(moves=moves, steps=LEGAL)) == found


@pytest.mark.parametrize(
    "steps, found",
    [
        ("i:pending i:running i:completed j:pending j:running", []),
        ("i:pending j:pending", ["one_job_per_key: j lives beside another of live:k"]),
        ("i:pending i:cancelled j:pending j:failed i:pending", []),
        ("i:pending i:unknown j:pending i:failed", []),
        (
            "i:pending i:unknown j:pending i:failed i:pending",
            ["one_job_per_key: i lives beside another of live:k"],
        ),
    ],
)
def test_one_live_job_per_key(steps: str, found: list[str]) -> None:
    words = [step.split(":") for step in steps.split()]
    moves = [Move(job, status, 0) for job, status in words]
    finals = [replace(FINAL, job=job, key="live:k") for job in "ij"]
    history = History([Enqueued("live:k", "i"), Enqueued("live:k", "j")])
    named = [v for v in violations(history, finals, Audit(moves=moves)) if v.startswith("one_job")]
    assert named == found


def test_a_repeated_claim_is_asked_when_its_first_try_was(tmp_path: Path) -> None:
    lines = [
        '{"call": "a/1", "op": "claim", "agent": "a", "request": "r", "asked": 1.0, "items": []}',
        '{"call": "a/2", "op": "claim", "agent": "a", "request": "r", "asked": 2.0, "items": []}',
        '{"call": "a/2", "answered": 2.5, "items": [["j", 1, 1, 9.0]]}',
        '{"call": "a/3", "op": "order", "asked": 3.0, "items": [["j", "cancel"]]}',
        '{"call": "a/3", "answered": 3.1, "items": [["ok", "running"]]}',
        '{"call": "a/4", "op": "enqueue", "asked": 4.0, "items": ["k"]}',
        '{"call": "a/4", "answered": 4.1, "items": [["rolled_back", null]]}',
        '{"call": "a/5", "op": "report", "asked": 5.0, "items": [["j", 1, "completed", "mine"]]}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    assert read(tmp_path) == History(
        [Enqueued("k", rolled_back=True)],
        [Claimed("a/2", "j", 1, 1, 9.0, 1.0, 2.5, "r")],
        [Reported("mine", "j", 1, "completed", 5.0)],
        [Ordered("cancel", "j", 3.0, 3.1, "ok", "running")],
    )


def test_attempts() -> None:
    assert judged(finals=[replace(FINAL, attempt=6)]) == ["attempts: j had 6 of 5"]
    assert judged(claimed=[CLAIM, replace(AGAIN, attempt=6)]) == ["attempts: j had 6 of 5"]


@pytest.mark.parametrize("settled", [{}, {"completed": 2}, {"completed": 1, "unknown": 1}])
def test_settled_equals_ended(settled: dict[str, int]) -> None:
    found = f"settled_equals_ended: j is completed, its parent has {settled}"
    assert judged(finals=[replace(FINAL, settled=settled)]) == [found]
    assert judged(finals=[replace(FINAL, settled=settled, unsettled=True)]) == []


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    lines = [
        '{"call": "a/1", "op": "enqueue", "asked": 1.0, "items": ["k", "l"]}',
        '{"call": "a/1", "answered": 1.1, "items": [["ok", "j"], ["duplicate", "i"]]}',
        '{"call": "a/2", "op": "claim", "asked": 2.0, "items": []}',
        '{"call": "a/2", "answered": 2.5, "items": [["j", 1, 1, 9.0]]}',
        '{"call": "a/3", "op": "report", "asked": 3.0, "items": [["j", 1, "completed"]]}',
        '{"call": "a/3", "answered": 3.1, "items": [["ok", "completed"]]}',
        '{"call": "a/4", "op": "report", "asked": 4.0, "items": [["i", 2, "failed"]]}',
        '{"call": "a/4", "answered": 4.1, "it',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.jsonl").write_text('{"call": "b/1", "op": "claim", "asked": 1.0, "items": []}\n')
    assert read(tmp_path) == History(
        [Enqueued("k", "j"), Enqueued("l", "i")],
        [Claimed("a/2", "j", 1, 1, 9.0, 2.0, 2.5)],
        [
            Reported("a/3/0", "j", 1, "completed", 3.0, "ok", "completed", 3.1),
            Reported("a/4/0", "i", 2, "failed", 4.0),
        ],
    )

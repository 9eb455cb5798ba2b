"""Records become the arguments of the SQL functions; what could not be sent is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from jobengine import InvalidArgument, Lease, NewJob, Report, _arguments

ID = UUID(int=7)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NAIVE = datetime(2030, 1, 1, 12)  # noqa: DTZ001
TEXTS = ("job_type", "queue", "dedup_key", "live_key")
TIMES = ("run_at", "expires_at")
SECONDS = ("delay", "expires_in", "lease")
INTEGERS = ("priority", "max_attempts")
DOCUMENTS = ("input", "meta")
WHOLE = NewJob(
    job_type="resize",
    input={"a": 1},
    queue="images",
    tenant_id=ID,
    priority=3,
    run_at=NOON,
    delay=1.5,
    expires_at=NOON,
    expires_in=2,
    dedup_key="d",
    live_key="l",
    max_attempts=4,
    lease=60,
    meta={"m": None},
    wake=True,
)


def new_job(**fields_: Any) -> NewJob:
    return NewJob(**{"job_type": "work", **fields_})


def report(**fields_: Any) -> Report:
    return Report(**{"job_id": ID, "lease_epoch": 1, "outcome": "completed", **fields_})


def refused(call: Callable[[], object]) -> tuple[str, str, int | None]:
    with pytest.raises(InvalidArgument) as caught:
        call()
    error = caught.value
    assert str(error).startswith(f"invalid {error.field}")
    assert str(error).endswith(error.rule)
    return error.field, error.rule, error.item


def test_every_field_of_a_new_job_is_an_argument_of_its_own() -> None:
    arguments = _arguments.enqueue_arguments([WHOLE])
    assert arguments == {
        "job_types": '{"resize"}',
        "inputs": '{"{\\"a\\":1}"}',
        "queues": '{"images"}',
        "tenant_ids": f"{{{ID}}}",
        "priorities": "{3}",
        "run_ats": '{"2030-01-01T12:00:00+00:00"}',
        "delays": "{1.5}",
        "expires_ats": '{"2030-01-01T12:00:00+00:00"}',
        "expires_ins": "{2.0}",
        "dedup_keys": '{"d"}',
        "live_keys": '{"l"}',
        "max_attempts": "{4}",
        "lease_seconds": "{60.0}",
        "metas": '{"{\\"m\\":null}"}',
        "wakes": "{True}",
    }
    assert len(arguments) == len(fields(NewJob))


def test_fields_that_nobody_gave_are_not_sent() -> None:
    sent = _arguments.enqueue_arguments([new_job(), new_job()])
    assert {name for name, array in sent.items() if array is not None} == {"job_types"}


def test_columns_keep_the_order_of_the_records() -> None:
    sent = _arguments.enqueue_arguments([new_job(priority=1), new_job(), new_job(priority=0)])
    assert sent["priorities"] == "{1,NULL,0}"


def test_no_jobs_are_no_batch() -> None:
    assert list(_arguments.enqueue_batches([])) == []


def test_many_jobs_go_in_batches_and_know_what_came_before() -> None:
    jobs = [new_job(input=number) for number in range(_arguments.BULK * 2 + 1)]
    batches = list(_arguments.enqueue_batches(jobs))
    assert [(before, len(part)) for before, part in batches] == [
        (0, _arguments.BULK),
        (_arguments.BULK, _arguments.BULK),
        (_arguments.BULK * 2, 1),
    ]
    assert [job for _, part in batches for job in part] == jobs


@pytest.mark.parametrize("key", ["dedup_key", "live_key"])
def test_jobs_with_keys_go_together_with_all_that_follow(key: str) -> None:
    many = [new_job()] * _arguments.BULK
    batches = _arguments.enqueue_batches([*many, *many[3:], new_job(**{key: "a"}), *many])
    assert [len(part) for _, part in batches] == [len(many), 2 * len(many) - 2]


def test_jobs_are_taken_when_their_batch_is() -> None:
    made = []

    def jobs() -> Iterator[NewJob]:
        for number in range(3 * _arguments.BULK):
            made.append(number)
            yield new_job()

    batches = _arguments.enqueue_batches(jobs())
    next(batches)
    assert len(made) == _arguments.BULK
    next(batches)
    assert len(made) == 2 * _arguments.BULK


@pytest.mark.parametrize(
    "values, item",
    [
        ((None, "a", 5), 3),
        (("a", "a", True), 3),
        (("a", ["a"], "a"), 2),
        (({}, "a"), 1),
        ((None, "a", "a", "b\0", "b\0"), 4),
    ],
)
def test_a_wrong_text_among_others_is_named(values: Sequence[Any], item: int) -> None:
    jobs = [new_job(queue=value) for value in values]
    assert refused(lambda: _arguments.enqueue_arguments(jobs))[::2] == ("queue", item)


def test_texts_that_repeat_keep_their_places() -> None:
    sent = _arguments.enqueue_arguments([new_job(queue=q) for q in ("a", None, 'b"', "a")])
    assert sent["queues"] == '{"a",NULL,"b\\"","a"}'


@pytest.mark.parametrize(
    "wrong", [float("nan"), [float("inf")], {"a": "\0"}, object(), {1: 2}, "x" * 2**20]
)
def test_a_wrong_document_among_others_is_named(wrong: object) -> None:
    jobs = [new_job(input=value) for value in ({"a": None}, None, "\\u0000", wrong, wrong)]
    assert refused(lambda: _arguments.enqueue_arguments(jobs, before=10))[::2] == ("input", 14)
    rights = _arguments.enqueue_arguments(jobs[:3])
    assert rights["inputs"] == r"""{"{\"a\":null}",NULL,"\"\\\\u0000\""}"""


def test_a_refusal_counts_what_came_before() -> None:
    refusal = refused(lambda: _arguments.enqueue_arguments([new_job(queue=5)], before=7))
    assert refusal[2] == 8


def test_leases_and_reports_name_job_and_epoch() -> None:
    assert _arguments.lease_arguments([Lease(ID, 3)]) == {
        "job_ids": f"{{{ID}}}",
        "lease_epochs": "{3}",
    }
    sent = _arguments.finish_arguments([report(output=[1], error_code="c", delay=2)])
    assert sent == {
        "job_ids": f"{{{ID}}}",
        "lease_epochs": "{1}",
        "outcomes": '{"completed"}',
        "outputs": '{"[1]"}',
        "error_codes": '{"c"}',
        "error_messages": None,
        "delays": "{2.0}",
    }


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("value", ["a\0b", "\ud800", 5, b"x", ["a"]], ids=repr)
def test_a_text_that_cannot_be_sent_is_refused(field: str, value: Any) -> None:
    refusal = refused(lambda: _arguments.enqueue_arguments([new_job(), new_job(**{field: value})]))
    assert refusal[0] == field
    assert refusal[2] == 2


@pytest.mark.parametrize("field", TIMES)
@pytest.mark.parametrize("value", [NAIVE, "2030-01-01", 0, NOON.date()], ids=repr)
def test_a_time_without_zone_is_refused(field: str, value: Any) -> None:
    assert refused(lambda: _arguments.enqueue_arguments([new_job(**{field: value})])) == (
        field,
        "a datetime with a time zone",
        1,
    )


@pytest.mark.parametrize("field", TIMES)
def test_a_time_is_sent_in_utc(field: str) -> None:
    far_east = NOON.astimezone(timezone(timedelta(hours=23)))
    sent = _arguments.enqueue_arguments([new_job(**{field: far_east})])
    assert sent[f"{field}s"] == '{"2030-01-01T12:00:00+00:00"}'


@pytest.mark.parametrize(
    "value",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
    ids=str,
)
def test_a_time_outside_the_calendar_is_refused(value: datetime) -> None:
    refusal = refused(lambda: _arguments.enqueue_arguments([new_job(run_at=value)]))
    assert refusal == ("run_at", "a time between the years 1 and 9999", 1)


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize("value", ["1", True, int, 10**400], ids=lambda v: repr(v)[:8])
def test_seconds_that_are_no_number_are_refused(field: str, value: Any) -> None:
    assert refused(lambda: _arguments.enqueue_arguments([new_job(**{field: value})])) == (
        field,
        "a number of seconds",
        1,
    )


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("value", [1.0, "1", True, 2**31, -(2**31) - 1], ids=repr)
def test_whole_numbers_that_are_none_are_refused(field: str, value: Any) -> None:
    assert refused(lambda: _arguments.enqueue_arguments([new_job(**{field: value})])) == (
        field,
        "a whole number",
        1,
    )


@pytest.mark.parametrize("field", DOCUMENTS)
def test_documents_above_one_mebibyte_are_refused(field: str) -> None:
    whole = 1024 * 1024
    fits = {"a": "x" * (whole - len('{"a":""}'))}
    assert _arguments.enqueue_arguments([new_job(**{field: fits})])
    fits["a"] += "x"
    assert refused(lambda: _arguments.enqueue_arguments([new_job(**{field: fits})])) == (
        field,
        "at most 1 MiB",
        1,
    )


@pytest.mark.parametrize(
    "field, value",
    [("tenant_id", str(ID)), ("tenant_id", 7), ("wake", 1), ("wake", "yes")],
    ids=repr,
)
def test_values_of_another_type_are_refused(field: str, value: Any) -> None:
    assert refused(lambda: _arguments.enqueue_arguments([new_job(**{field: value})]))[0] == field


@pytest.mark.parametrize(
    "field, value",
    [
        ("job_id", "x"),
        ("lease_epoch", 1.5),
        ("outcome", 5),
        ("output", float("nan")),
        ("error_code", 4),
        ("error_message", "\0"),
        ("delay", "soon"),
    ],
    ids=repr,
)
def test_a_report_that_cannot_be_sent_names_field_and_item(field: str, value: Any) -> None:
    refusal = refused(lambda: _arguments.finish_arguments([report(), report(**{field: value})]))
    assert (refusal[0], refusal[2]) == (field, 2)

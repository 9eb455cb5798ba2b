"""From records to the array arguments of the SQL functions, each field checked (`_values`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from jobengine import _db, _values
from jobengine.records import Held, NewJob, Report

# A record's fields that are not None, by argument, as elements of PostgreSQL's arrays.
Elements: TypeAlias = dict[str, str]
# Jobs per call of a bulk enqueue: 100,000 go in 1.5 times as fast (60,000/s) as in a single call
# (41,000/s), whose arrays the server unnests from one block of memory (`bench -- bulk`).
BULK = 1000


def enqueue_arguments(jobs: Sequence[NewJob], before: int = 0) -> dict[str, str | None]:
    """Return the arguments of `calls.enqueue`; refusals count items from `before` + 1."""
    return _columns(jobs, _NEW_JOB, before)


def enqueue_batches(jobs: Iterable[NewJob]) -> Iterator[tuple[int, Sequence[NewJob]]]:
    """Yield the jobs of each call of a bulk enqueue, and the number of jobs before them.

    Jobs with keys stay in one call, the last, which locks their keys in order: two bulk calls with
    the same keys in other batches could wait for each other.
    """
    rest, before = iter(jobs), 0
    while batch := list(itertools.islice(rest, BULK)):
        if any(job.dedup_key is not None or job.live_key is not None for job in batch):
            batch.extend(rest)
        yield before, batch
        before += len(batch)


def finish_arguments(reports: Iterable[Report]) -> dict[str, str | None]:
    """Return the arguments of `calls.finish`."""
    return _columns(list(reports), _REPORT)


def ended_arguments(reports: Sequence[Report]) -> dict[str, str | None]:
    """Return the arguments of `calls.finish` for reports that a worker made: 0.9 µs each for 3.2.

    Their ids, epochs and outcomes are what they should be. Most have an output and nothing else.
    """
    completed = all(report.outcome == "completed" for report in reports)
    return {
        "job_ids": "{" + ",".join([f"{report.job_id.int:032x}" for report in reports]) + "}",
        "lease_epochs": "{" + ",".join([str(report.lease_epoch) for report in reports]) + "}",
        "outcomes": "{" + ",".join([report.outcome for report in reports]) + "}",
        "outputs": _documents([report.output for report in reports], "output"),
        **({} if completed else _columns(reports, _NOT_COMPLETED)),
    }


def lease_arguments(leases: Iterable[Held]) -> dict[str, str | None]:
    """Return `job_ids` and `lease_epochs`."""
    return _columns(list(leases), _LEASE)


def job_elements(jobs: Iterable[NewJob]) -> list[Elements]:
    """Return what `together` makes the arguments of `calls.enqueue` of."""
    return [_elements(job, _NEW_JOB, item) for item, job in enumerate(jobs, 1)]


def report_elements(reports: Iterable[Report]) -> list[Elements]:
    """Return what `together` makes the arguments of `calls.finish` of."""
    return [_elements(report, _REPORT, item) for item, report in enumerate(reports, 1)]


def lease_elements(leases: Iterable[Held]) -> list[Elements]:
    """Return what `together` makes `job_ids` and `lease_epochs` of."""
    return [_elements(lease, _LEASE, item) for item, lease in enumerate(leases, 1)]


def together(items: Sequence[Elements]) -> dict[str, str | None]:
    """Return one array per argument that any of the items has."""
    if len(items) == 1:
        return {name: "{" + element + "}" for name, element in items[0].items()}
    return {
        name: "{" + ",".join([item.get(name, "NULL") for item in items]) + "}"
        for name in dict.fromkeys(itertools.chain.from_iterable(items))
    }


def _elements(record: object, columns: dict[str, tuple[str, _values.Check]], item: int) -> Elements:
    found = {}
    for argument, (field, check) in columns.items():
        value = getattr(record, field)
        if value is not None:
            found[argument] = _db.element(check(value, field, item))
    return found


def _columns(
    records: Sequence[Any], columns: dict[str, tuple[str, _values.Check]], before: int = 0
) -> dict[str, str | None]:
    """Return one array per column, in the order of the records; items count from `before` + 1."""
    return {
        argument: _column(list(map(attrgetter(field), records)), field, check, before)
        for argument, (field, check) in columns.items()
    }


def _column(values: list[Any], field: str, check: _values.Check, before: int) -> str | None:
    if values.count(None) == len(values):  # most columns of most calls
        return None
    if check is _values.json:
        return _documents(values, field, before)
    if check is _values.text:
        return _texts(values, field, before)
    return _db.array(_one_by_one(values, field, check, before))


def _one_by_one(
    values: Sequence[Any], field: str, check: _values.Check, before: int
) -> Iterator[Any]:
    for item, value in enumerate(values, before + 1):
        yield None if value is None else check(value, field, item)


def _documents(values: Sequence[Any], field: str, before: int = 0) -> str:
    """Return an array of JSON, written and looked through all at once.

    That saves 0.4 of the 1.3 µs that the report of a job with a small output takes, and nothing
    for inputs of 100 bytes. Where something is wrong, or may be, each is looked at, to say which.
    """
    texts = _db.plain_json(values)
    if texts is None or max(len(text or b"") for text in texts) > _values.MAX_JSON_BYTES:
        texts = list(_one_by_one(values, field, _values.json, before))
    return _db.json_array(texts)


def _texts(values: Sequence[Any], field: str, before: int) -> str | None:
    try:
        return "{" + ",".join(map(_Texts(values, field, before).__getitem__, values)) + "}"
    except TypeError:  # no text, and nothing that a dict can hold
        return _db.array(_one_by_one(values, field, _values.text, before))


class _Texts(dict[Any, str]):
    """The element of each text, looked at once: a call has few texts, and many of each."""

    def __init__(self, values: Sequence[Any], field: str, before: int) -> None:
        super().__init__({None: "NULL"})
        self._values, self._field, self._before = values, field, before

    def __missing__(self, value: object) -> str:
        item = self._before + self._values.index(value) + 1
        return self.setdefault(value, _db.element(_values.text(value, self._field, item)))


_NEW_JOB: dict[str, tuple[str, _values.Check]] = {
    "job_types": ("job_type", _values.text),
    "inputs": ("input", _values.json),
    "queues": ("queue", _values.text),
    "tenant_ids": ("tenant_id", _values.uuid),
    "priorities": ("priority", _values.integer),
    "run_ats": ("run_at", _values.time),
    "delays": ("delay", _values.seconds),
    "expires_ats": ("expires_at", _values.time),
    "expires_ins": ("expires_in", _values.seconds),
    "dedup_keys": ("dedup_key", _values.text),
    "live_keys": ("live_key", _values.text),
    "max_attempts": ("max_attempts", _values.integer),
    "lease_seconds": ("lease", _values.seconds),
    "metas": ("meta", _values.json),
    "wakes": ("wake", _values.flag),
}

_LEASE: dict[str, tuple[str, _values.Check]] = {
    "job_ids": ("job_id", _values.uuid),
    "lease_epochs": ("lease_epoch", _values.integer),
}

_REPORT: dict[str, tuple[str, _values.Check]] = {
    **_LEASE,
    "outcomes": ("outcome", _values.text),
    "outputs": ("output", _values.json),
    "error_codes": ("error_code", _values.text),
    "error_messages": ("error_message", _values.text),
    "delays": ("delay", _values.seconds),
}

_NOT_COMPLETED = {name: _REPORT[name] for name in ("error_codes", "error_messages", "delays")}

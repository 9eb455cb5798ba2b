"""What a caller gives, checked by what only Python can check.

Ranges, names and combinations are the SQL functions' business, which name field and rule; here it
is what could not even be sent, or would arrive as something else. `item` counts from 1 where a call
takes a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import psycopg

from jobengine import _db
from jobengine.errors import InvalidArgument
from jobengine.records import Held, NewJob, Report

Check: TypeAlias = Callable[[Any, str, int | None], object]
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", NewJob, Report)
T = TypeVar("T")
_INT32 = 2**31
MAX_JSON_BYTES = 1024 * 1024


def text(value: Any, field: str, item: int | None = None) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(field, "a string", item)
    if rule := _db.broken_rule(value):
        raise InvalidArgument(field, rule, item)
    return value


def json(value: Any, field: str, item: int | None = None) -> bytes:
    text = _db.json(value, field, item) or b"null"
    if len(text) > MAX_JSON_BYTES:
        raise InvalidArgument(field, "at most 1 MiB", item)
    return text


def integer(value: Any, field: str, item: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT32 <= value < _INT32:
        raise InvalidArgument(field, "a whole number", item)
    return value


def seconds(value: Any, field: str, item: int | None = None) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidArgument(field, "a number of seconds", item)
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidArgument(field, "a number of seconds", item) from error


def flag(value: Any, field: str, item: int | None = None) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(field, "True or False", item)
    return value


def time(value: Any, field: str, item: int | None = None) -> datetime:
    if not isinstance(value, datetime) or _db.broken_rule(value):
        raise InvalidArgument(field, "a datetime with a time zone", item)
    try:
        # PostgreSQL takes no offset of 16 hours or more.
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidArgument(field, "a time between the years 1 and 9999", item) from error


def uuid(value: Any, field: str, item: int | None = None) -> UUID:
    if not isinstance(value, UUID):
        raise InvalidArgument(field, "a UUID", item)
    return value


def listed(values: Iterable[T], field: str) -> list[T]:
    """Return the values as a list; a text is none, although Python would take its letters."""
    _refuse_letters(values, field)
    return list(values)


def _refuse_letters(values: object, field: str) -> None:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidArgument(field, f"a list, not {type(values).__name__}")


def texts(values: Sequence[str], field: str) -> list[str]:
    """Return a list of strings."""
    return [text(value, field, item) for item, value in enumerate(listed(values, field), 1)]


def functions(values: Sequence[F], field: str) -> list[F]:
    """Return a list of what can be called."""
    return [function(value, field, item) for item, value in enumerate(listed(values, field), 1)]


def function(value: F, field: str, item: int | None = None) -> F:
    """Return what can be called."""
    if not callable(value):
        raise InvalidArgument(field, "a function", item)
    return value


def at_least_one(value: int, field: str) -> int:
    """Return a whole number above 0."""
    if integer(value, field) < 1:
        raise InvalidArgument(field, "at least 1")
    return value


def span(value: float, field: str, *, above: bool = True) -> float:
    """Return a number of seconds: above 0, or from 0 and perhaps endless."""
    found = seconds(value, field)
    if not (0 < found < math.inf if above else found >= 0):
        raise InvalidArgument(field, "above 0" if above else "from 0")
    return found


def ids(values: Iterable[UUID], field: str) -> str:
    """Return a list of ids as an array of PostgreSQL's."""
    given = [uuid(value, field, item) for item, value in enumerate(listed(values, field), 1)]
    return _db.array(given) or "{}"


def records(values: Iterable[R], field: str, kind: type[R]) -> list[R]:
    """Return a list of records of one kind."""
    return list(each(values, field, kind))


def each(values: Iterable[R], field: str, kind: type[R]) -> Iterator[R]:
    """Yield records of one kind, each looked at when it is taken."""
    _refuse_letters(values, field)

    def checked() -> Iterator[R]:
        for item, value in enumerate(values, 1):
            if not isinstance(value, kind):
                raise InvalidArgument(field, f"a {kind.__name__}, not {type(value).__name__}", item)
            yield value

    return checked()


def leases(values: Iterable[Held]) -> list[Held]:
    """Return a list of jobs or leases."""
    given: list[Any] = listed(values, "leases")
    for item, value in enumerate(given, 1):
        if not (hasattr(value, "job_id") and hasattr(value, "lease_epoch")):
            raise InvalidArgument("leases", f"a Job or Lease, not {type(value).__name__}", item)
    return given


def connection(value: Any) -> None:
    """Refuse what is no connection of psycopg's, such as an ORM's session."""
    if not isinstance(value, psycopg.AsyncConnection | psycopg.Connection):
        raise InvalidArgument(
            "connection", f"a psycopg.AsyncConnection, not {type(value).__name__}"
        )


def ids_or_filter(job_ids: object, queue: object, job_type: object) -> None:
    """Refuse a filter beside ids: it would not narrow them, and more would stop than is meant."""
    for field, value in (("queue", queue), ("job_type", job_type)):
        if job_ids is not None and value is not None:
            raise InvalidArgument(field, "not together with job_ids")


def checked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return single arguments of a call, each as its name says; None is the default of each."""
    return {
        name: value if value is None or name not in _SINGLE else _SINGLE[name](value, name, None)
        for name, value in arguments.items()
    }


_SINGLE: dict[str, Check] = {
    **dict.fromkeys(("job_type", "queue", "status", "reason", "delivery", "settle"), text),
    **dict.fromkeys(("tenant_id", "before", "after"), uuid),
    **dict.fromkeys(("priority", "max_attempts", "limit", "cap"), integer),
    **dict.fromkeys(("seconds", "keep_seconds", "lease_seconds"), seconds),
    **dict.fromkeys(("backoff_seconds", "backoff_max_seconds"), seconds),
    **dict.fromkeys(("run_at", "expires_at"), time),
    "unsettled": flag,
}

"""Every error that the library raises, and the one table from SQLSTATE to class.

EngineError
├── InvalidArgument          JE002  a value breaks a rule: `field`, `rule`, `item`
├── UnknownJobType           JE001  enqueue of a type that nobody registered
├── InvalidSettleFunction    JE003  its hint holds the statements that mend it
├── WrongIsolation           JE004  the call needs READ COMMITTED
├── TryAgain                 40001, 40P01, 55P03  nothing happened, the same call may succeed
├── EngineUnavailable        25006 or no code: the server went away, or only reads after a
│                            failover; what was sent may have happened
├── NotInstalled             the schema, a function or a right is missing
├── SchemaMismatch           the database is newer than this library, or was altered
├── WaitTimeout              the job had not ended in time
└── EmbeddedError            the embedded server cannot run (jobengine.embedded)
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import psycopg_pool

if TYPE_CHECKING:
    from collections.abc import Iterator


class EngineError(Exception):
    """The job engine could not do what was asked."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        """Without a message, the first line of the class's docstring is the message."""
        text = message or (inspect.getdoc(type(self)) or "").partition("\n")[0]
        super().__init__(text if hint is None else f"{text}\n{hint}")
        self.hint = hint


class InvalidArgument(EngineError):
    """A value breaks a rule; nothing was written."""

    def __init__(self, field: str, rule: str, item: int | None = None) -> None:
        """`item` counts from 1 where the call takes a list."""
        where = "" if item is None else f" (item {item})"
        super().__init__(f"invalid {field}{where}: {rule}")
        self.field = field
        self.rule = rule
        self.item = item


class UnknownJobType(EngineError):
    """The job type is not registered; nothing was written."""


class InvalidSettleFunction(EngineError):
    """The settle function would fail, or change nothing, when a job ends."""


class WrongIsolation(EngineError):
    """This call needs isolation level READ COMMITTED."""


class TryAgain(EngineError):
    """Another transaction was in the way; nothing happened, the same call may succeed."""


class EngineUnavailable(EngineError):
    """PostgreSQL cannot be reached; what was sent before may have happened."""


class NotInstalled(EngineError):
    """The engine is not installed in this database, or this role may not use it."""


class SchemaMismatch(EngineError):
    """The engine in this database is not the one that this library knows."""


class WaitTimeout(EngineError):
    """The job had not ended in time; it goes on."""


_BY_SQLSTATE: dict[str, type[EngineError]] = {
    "JE001": UnknownJobType,
    "JE002": InvalidArgument,
    "JE003": InvalidSettleFunction,
    "JE004": WrongIsolation,
    "40001": TryAgain,
    "40P01": TryAgain,
    "55P03": TryAgain,
    "25006": EngineUnavailable,  # a standby, still or again: the next connection may find the other
    "3F000": NotInstalled,
    "42883": NotInstalled,
    "42P01": NotInstalled,
    "42501": NotInstalled,
}

_INSTALL_HINT = "`jobengine install` brings this database to the version of the library"
_GRANT_HINT = (
    "grant jobengine_client, jobengine_worker or jobengine_operator to this role, "
    "as docs/guide/operating.md has them"
)
_HINTS = {
    **dict.fromkeys(("3F000", "42883", "42P01"), _INSTALL_HINT),
    "42501": _GRANT_HINT,
}

# A prepared statement is gone, or there already: another server connection answers than before.
_UNPREPARED = ("26000", "42P05")
_UNPREPARED_HINT = (
    "behind a pooler in transaction mode: JobEngine(url, prepare_threshold=None), "
    "or conn.prepare_threshold = None on a connection of yours"
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the library's errors instead of the driver's, with the driver's as `__cause__`."""
    try:
        yield
    except psycopg.Error as error:
        raise from_driver(error) from error


def from_driver(error: psycopg.Error) -> EngineError:
    """Return the library's error for one of the driver's."""
    if isinstance(error, psycopg_pool.PoolClosed):
        return EngineError(f"not open, or closed already: {error}")  # no outage: it never ends
    if isinstance(error, psycopg_pool.PoolTimeout):
        return EngineUnavailable(f"no connection: {error}")
    kind = _BY_SQLSTATE.get(error.sqlstate or "")
    if kind is InvalidArgument:
        detail = _detail(error)
        return InvalidArgument(detail["field"], detail["rule"], detail["item"])
    message = error.diag.message_primary or str(error)
    if error.sqlstate in _UNPREPARED:
        return EngineError(message, hint=_UNPREPARED_HINT)
    if kind is None:
        unreachable = isinstance(error, psycopg.OperationalError)
        return EngineUnavailable(message) if unreachable else EngineError(message)
    return kind(message, hint=error.diag.message_hint or _HINTS.get(error.sqlstate or ""))


def item_of(error: psycopg.Error) -> int | None:
    """Return which item (from 1) a refusal of class JE names, if it does."""
    if not (error.sqlstate or "").startswith("JE"):
        return None
    item: int | None = _detail(error).get("item")
    return item


def _detail(error: psycopg.Error) -> dict[str, Any]:
    """Return the JSON that a refusal of class JE carries in its detail."""
    detail: dict[str, Any] = orjson.loads(error.diag.message_detail or "{}")
    return detail

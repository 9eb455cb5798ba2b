"""The log records of the library: the one table of events, and `JsonFormatter`.

Every record carries its event's name as `event`, and the event's fields, as attributes of the
record (`extra`). Loggers are `jobengine` and its children; the library configures none of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that is logged: `message` is a %-template of the fields; `help` says when."""

    name: str
    level: int
    fields: tuple[str, ...]
    message: str
    help: str


def _event(name: str, level: int, fields: str, message: str, help: str) -> Event:  # noqa: A002 - a column of the table
    return Event(name, level, tuple(fields.split()), message, help)


WORKER_STARTED = _event(
    "worker_started",
    INFO,
    "agent_id queues concurrency",
    "worker %(agent_id)s starts: queues %(queues)s, %(concurrency)s slots",
    "`Worker.run` begins",
)
WORKER_STOPPING = _event(
    "worker_stopping",
    INFO,
    "agent_id held",
    "worker %(agent_id)s drains: it holds %(held)s jobs",
    "it takes no more jobs and waits for its handlers",
)
WORKER_STOPPED = _event(
    "worker_stopped",
    INFO,
    "agent_id seconds",
    "worker %(agent_id)s has stopped after %(seconds).0f s",
    "`Worker.run` ends, whatever the reason",
)
HANDLER_IGNORED_STOP = _event(
    "handler_ignored_stop",
    WARNING,
    "agent_id slots threads",
    "worker %(agent_id)s ends without handlers that took no notice:"
    " %(slots)s slots, %(threads)s threads",
    "the worker ends although handlers still run",
)
JOB_FAILED = _event(
    "job_failed",
    WARNING,
    "agent_id job_id job_type attempt max_attempts error_code error held_seconds verdict",
    "job %(job_id)s (%(job_type)s), attempt %(attempt)s of %(max_attempts)s failed, %(verdict)s:"
    " %(error)s",
    "a failed attempt was recorded; `retried`: the job waits for another one."
    " The traceback is in the job's failures",
)
JOB_REJECTED = _event(
    "job_rejected",
    WARNING,
    "agent_id job_id job_type attempt error_code error held_seconds verdict",
    "job %(job_id)s (%(job_type)s) was rejected, %(verdict)s: %(error)s",
    "a handler returned `Reject`, or an output that cannot be stored; the job has failed for good",
)
JOB_CANCELLED = _event(
    "job_cancelled",
    INFO,
    "agent_id job_id job_type attempt reason",
    "job %(job_id)s (%(job_type)s) was cancelled while it was held: %(reason)s",
    "its handler is cancelled; in a batch, once all jobs of the batch are stopped",
)
LEASE_LOST = _event(
    "lease_lost",
    WARNING,
    "agent_id job_id job_type attempt verdict",
    "job %(job_id)s (%(job_type)s): the lease is lost: %(verdict)s",
    "`extend` or `start` was refused: the job is somebody else's, or gone",
)
FINISH_REFUSED = _event(
    "finish_refused",
    WARNING,
    "agent_id job_id job_type attempt outcome verdict",
    "job %(job_id)s (%(job_type)s): its end %(outcome)s was refused: %(verdict)s",
    "a report changed nothing, because the lease was lost before it came",
)
SETTLE_FAILED = _event(
    "settle_failed",
    WARNING,
    "agent_id job_id job_type attempt outcome",
    "job %(job_id)s (%(job_type)s): its end is recorded, its settle function failed",
    "`sweep` settles it again; `JobInfo.settle_error` says what failed",
)
CALL_RETRIED = _event(
    "call_retried",
    WARNING,
    "call error seconds",
    "%(call)s: %(error)s; again in %(seconds).2f s",
    "a call failed, usually because PostgreSQL is away, and is made again",
)
LISTENER_LOST = _event(
    "listener_lost",
    WARNING,
    "error seconds",
    "the listener lost its connection: %(error)s; again in %(seconds).2f s",
    "until it is back, jobs are found by polling",
)
LISTENER_BACK = _event(
    "listener_back", INFO, "", "the listener is back", "it listens again after `listener_lost`"
)
STRAY_NOTIFICATION = _event(
    "stray_notification",
    WARNING,
    "payload",
    "not a notification of the engine: %(payload)s",
    "somebody else notified on the engine's channel",
)
SWEPT = _event(
    "swept",
    INFO,
    "returned ended settled",
    "sweep: %(returned)s jobs returned, %(ended)s ended, %(settled)s settled",
    "a sweep did something",
)
PRUNED = _event("pruned", INFO, "pruned", "prune: %(pruned)s jobs removed", "a prune did something")
ON_METRIC_FAILED = _event(
    "on_metric_failed",
    ERROR,
    "metric",
    "the on_metric callback raised, here for %(metric)s; this is said once",
    "work goes on; the record holds the exception",
)

EVENTS: Mapping[str, Event] = {
    event.name: event for event in tuple(globals().values()) if isinstance(event, Event)
}

# What every record has anyway; the rest are fields.
_OF_ANY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def emit(
    log: logging.Logger, event: Event, error: BaseException | None = None, /, **fields: object
) -> None:
    """Log an event with all its fields, and `error` as the record's exception."""
    assert set(fields) == set(event.fields), f"{event.name}: {sorted(fields)}"
    log.log(
        event.level,
        event.message,
        *([fields] if fields else []),
        extra={"event": event.name, **fields},
        exc_info=error,
        stacklevel=2,
    )


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: time, level, logger, event, message, fields, exception.

    Works for records of any library. What JSON does not know is written as its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII and without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": getattr(record, "event", None),
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _OF_ANY_RECORD and name not in line:
                line[name] = _plain(value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _plain(value: Any) -> Any:
    """Return the value as it may stand in JSON, or its text."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value

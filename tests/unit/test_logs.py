"""`JsonFormatter`: one line of JSON per record, whatever is in it."""

from __future__ import annotations

import json
import logging
import math
import sys
from typing import Any
from uuid import UUID

import pytest

from jobengine import JsonFormatter, logs


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert text.isascii()
    found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return found


def record_of(message: str = "text", *args: Any, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord("some.logger", logging.INFO, "file", 1, message, args, None)
    vars(record).update(fields)
    return record


def test_a_record_of_the_library(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("jobengine.test")
    with caplog.at_level(logging.INFO, log.name):
        logs.emit(log, logs.PRUNED, pruned=3)
    (record,) = caplog.records
    record.created = 0.25
    assert line_of(record) == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "jobengine.test",
        "event": "pruned",
        "message": "prune: 3 jobs removed",
        "pruned": 3,
    }
    assert record.filename == "test_logs.py"


def test_an_event_without_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logs.emit(logging.getLogger("jobengine.test"), logs.LISTENER_BACK)
    assert line_of(caplog.records[0])["message"] == "the listener is back"


def test_a_record_of_another_library_has_no_event() -> None:
    line = line_of(record_of("%s and %d", "one", 2))
    assert (line["event"], line["message"]) == (None, "one and 2")


@pytest.mark.parametrize(
    "value, written",
    [
        (UUID(int=7), str(UUID(int=7))),
        ([UUID(int=7), {"a": None}], [str(UUID(int=7)), {"a": None}]),
        ("two\nlines \ud800 ü", "two\nlines \ud800 ü"),
        (math.nan, "nan"),
        ([math.inf], "[inf]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (True, True),
    ],
    ids=repr,
)
def test_fields_of_any_kind_are_written(value: Any, written: Any) -> None:
    assert line_of(record_of(mine=value))["mine"] == written


def test_a_field_that_holds_itself_is_written_as_text() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert line_of(record_of(mine=endless))["mine"] == "[[...]]"


def test_the_exception_is_part_of_the_line() -> None:
    record = record_of()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        record.exc_info = sys.exc_info()
    exception = line_of(record)["exception"]
    assert exception.startswith("Traceback")
    assert exception.endswith("ZeroDivisionError: division by zero")


def test_an_event_with_other_fields_than_the_tables_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="pruned"):
        logs.emit(logging.getLogger("jobengine.test"), logs.PRUNED, number=3)

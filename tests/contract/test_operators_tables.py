"""The tables of metrics and of log events: the code, and the documents, hold to them."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobengine
from jobengine import logs, metrics
from tests.contract.documents import code, tables

PACKAGE = Path(jobengine.__file__).parent
SOURCES = {path.name: ast.parse(path.read_text()) for path in PACKAGE.glob("*.py")}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def used(module: str) -> set[str]:
    """The names of a module that others of the library use as `module.NAME`."""
    return {
        node.attr
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if name != f"{module}.py" and isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == module and node.attr.isupper()
    }


def constants(module: object, kind: type) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func), node


def test_every_event_is_used_and_every_one_in_use_is_in_the_table() -> None:
    events = constants(logs, logs.Event)
    assert used("logs") == events.keys()
    assert [*logs.EVENTS.values()] == [*events.values()]
    assert [*logs.EVENTS] == [event.name for event in logs.EVENTS.values()]


def test_every_metric_is_used_and_every_one_in_use_is_in_the_table() -> None:
    found = constants(metrics, metrics.Metric)
    assert used("metrics") == found.keys()
    assert [*metrics.METRICS.values()] == [*found.values()]
    assert [*metrics.METRICS] == [metric.name for metric in metrics.METRICS.values()]


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"logs.py"}))
def test_nothing_is_logged_but_events(name: str) -> None:
    loggers = {f"{logger}.{level}" for logger in ("log", "logger", "logging") for level in LEVELS}
    assert [call for call, _ in calls(SOURCES[name]) if call in loggers] == []


def test_a_message_shows_nothing_but_fields() -> None:
    for event in logs.EVENTS.values():
        shown = {"seconds": 1.0, **dict.fromkeys(set(event.fields) - {"seconds"}, "it")}
        assert event.message % shown
        # What the record of the standard library needs itself.
        assert not set(event.fields) & vars(logging.makeLogRecord({})).keys()


def test_the_document_lists_the_events() -> None:
    rows = [
        (code(name), level, tuple(code(field) for field in fields.split(", ") if field), when)
        for name, level, fields, when in tables("logging.md")["event"]
    ]
    assert rows == [
        (event.name, logging.getLevelName(event.level), event.fields, event.help)
        for event in logs.EVENTS.values()
    ]


def test_the_document_lists_the_metrics() -> None:
    rows = [
        (code(name), kind, tuple(code(label) for label in labels.split(", ") if label), what)
        for name, kind, labels, what in tables("metrics.md")["metric"]
    ]
    assert rows == [
        (metric.name, metric.kind, metric.labels, metric.help)
        for metric in metrics.METRICS.values()
    ]

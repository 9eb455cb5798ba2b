"""`jobengine.sync` is `JobEngine` on a plain connection, argument by argument."""

from __future__ import annotations

import inspect

import pytest

from jobengine import JobEngine, sync

FUNCTIONS = [name for name, _ in inspect.getmembers(sync, inspect.isfunction)]
PUBLIC = [name for name in FUNCTIONS if name in sync.__all__]


def test_the_functions_are_listed() -> None:
    assert PUBLIC == ["cancel", "enqueue", "enqueue_many", "get", "wait"]
    assert sorted({*PUBLIC, "Connection"}) == sorted(sync.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_function_takes_what_the_method_takes(name: str) -> None:
    """In the place of the engine, and of its optional connection, stands the connection."""
    first, *arguments = inspect.signature(getattr(sync, name)).parameters.values()
    _, *expected = inspect.signature(getattr(JobEngine, name)).parameters.values()
    assert first.name == "connection"
    assert arguments == [argument for argument in expected if argument.name != "connection"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_function_gives_what_the_method_gives(name: str) -> None:
    given, expected = (
        inspect.signature(getattr(face, name)).return_annotation for face in (sync, JobEngine)
    )
    assert given == expected


@pytest.mark.parametrize("name", PUBLIC)
def test_a_function_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(sync, name))

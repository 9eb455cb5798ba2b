"""Errors of PostgreSQL become the library's own, with the cause kept."""

from __future__ import annotations

import inspect
import json

import psycopg
import psycopg_pool
import pytest
from psycopg import errors as pg

from jobengine import errors
from jobengine.errors import (
    EngineError,
    EngineUnavailable,
    InvalidArgument,
    InvalidSettleFunction,
    NotInstalled,
    TryAgain,
    UnknownJobType,
    WrongIsolation,
    translated,
)
from tests.acceptance.world import Db

# How PostgreSQL is brought to raise each code.
RAISE = "do $$ begin raise exception using {}; end $$"
KINDS = {
    "JE001": UnknownJobType,
    "JE003": InvalidSettleFunction,
    "JE004": WrongIsolation,
    "40001": TryAgain,
    "40P01": TryAgain,
    "55P03": TryAgain,
    "3F000": NotInstalled,
    "42883": NotInstalled,
    "42P01": NotInstalled,
    "42501": NotInstalled,
    "57P01": EngineUnavailable,
    "53300": EngineUnavailable,
    "22012": EngineError,
    "25006": EngineUnavailable,
    "P0001": EngineError,
}


def raised(db: Db, **options: str) -> EngineError:
    """The library's error for one that PostgreSQL raises."""
    using = ", ".join(f"{name} = '{value}'" for name, value in options.items())
    with pytest.raises(EngineError) as caught, translated():
        db.execute(RAISE.format(using).encode())
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.sqlstate == options["errcode"]
    return caught.value


@pytest.mark.parametrize("code", KINDS)
def test_a_code_becomes_its_class_with_message_and_hint(db: Db, code: str) -> None:
    error = raised(db, errcode=code, message="what happened", hint="what to do")
    assert type(error) is KINDS[code]
    assert str(error).startswith("what happened")
    if error.hint is not None:
        assert error.hint == "what to do"
        assert str(error).endswith("what to do")


def test_every_code_of_the_table_is_tested() -> None:
    assert errors._BY_SQLSTATE.keys() - KINDS.keys() == {"JE002"}


def test_a_refusal_names_field_rule_and_item(db: Db) -> None:
    detail = json.dumps({"field": "queue", "rule": "at most", "item": 3})
    error = raised(db, errcode="JE002", message="m", detail=detail)
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.rule, error.item) == ("queue", "at most", 3)
    assert str(error) == "invalid queue (item 3): at most"


def test_a_refusal_of_the_whole_call_has_no_item() -> None:
    assert str(InvalidArgument("limit", "from 1")) == "invalid limit: from 1"


@pytest.mark.parametrize(
    "error", [psycopg_pool.PoolTimeout("no answer"), pg.ConnectionFailure("gone")], ids=repr
)
def test_a_connection_that_does_not_come_is_an_outage(error: psycopg.Error) -> None:
    assert isinstance(errors.from_driver(error), EngineUnavailable)


def test_a_closed_pool_is_no_outage_which_would_pass() -> None:
    error = errors.from_driver(psycopg_pool.PoolClosed("the pool is closed"))
    assert type(error) is EngineError
    assert "closed" in str(error)


def test_errors_of_the_program_itself_pass_untouched() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 / 0


@pytest.mark.parametrize(
    "kind",
    [EngineError, EngineUnavailable, NotInstalled, TryAgain, errors.WaitTimeout, WrongIsolation],
)
def test_without_a_message_the_documentation_is_the_message(kind: type[EngineError]) -> None:
    assert str(kind()) == (inspect.getdoc(kind) or "").splitlines()[0]
    assert str(kind("told")) == "told"
    assert str(kind("told", hint="mend it")) == "told\nmend it"

"""An error code of the SQL is one class of Python, and the reverse."""

from __future__ import annotations

import inspect
import re

from jobengine import errors
from jobengine.errors import EngineError
from tools.sql_rules.reading import Engine

CODES = {code: kind for code, kind in errors._BY_SQLSTATE.items() if code.startswith("JE")}


def test_every_code_that_the_sql_raises_has_a_class(sql_files: Engine) -> None:
    raised = {code for function in sql_files.functions.values() for code in function.code.raised}
    assert raised == CODES.keys()


def test_every_code_has_a_class_of_its_own() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_the_codes_stand_beside_their_classes_in_the_documentation() -> None:
    assert errors.__doc__ is not None
    documented = re.findall(r"─ (\w+) +(JE\d{3})  \S", errors.__doc__)
    assert {code: name for name, code in documented} == {
        code: kind.__name__ for code, kind in CODES.items()
    }


def test_every_error_is_in_the_documentation() -> None:
    assert errors.__doc__ is not None
    defined = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, EngineError) and kind is not EngineError
    }
    listed = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert defined <= listed

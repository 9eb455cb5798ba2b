"""The files, the schema and jobengine/calls.py are the same functions, argument by argument."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

from jobengine import calls, schema
from tests.sql.helpers import Db
from tools.sql_rules.code import SCHEMA, Node
from tools.sql_rules.reading import Engine, Function, read
from tools.sql_rules.rights import granted_functions

FILES = read(schema.sql_folder())
PUBLIC = sorted(granted_functions(FILES))
RESULT_COLUMNS = """
select coalesce(
    (select array_agg(a.name order by a.place)
     from unnest(p.proargnames, p.proargmodes) with ordinality a (name, mode, place)
     where a.mode in ('t', 'o')),
    (select array_agg(c.attname::text order by c.attnum)
     from pg_type t join pg_attribute c on c.attrelid = t.typrelid
     where t.oid = p.prorettype and c.attnum > 0 and not c.attisdropped)) as columns
from pg_proc p
where p.pronamespace = 'jobengine'::regnamespace and p.proname = %s
"""


def test_the_files_are_the_functions_of_the_schema(db: Db, sql_files: Engine) -> None:
    query = "select proname from pg_proc where pronamespace = 'jobengine'::regnamespace"
    installed = sorted(row["proname"] for row in db.execute(query).fetchall())
    assert installed == sorted(sql_files.functions)


def test_the_granted_functions_are_the_calls() -> None:
    functions = inspect.getmembers(calls, inspect.iscoroutinefunction)
    assert sorted(name for name, _ in functions) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_the_arguments_of_a_call_are_those_of_its_function(name: str) -> None:
    _, *arguments = inspect.signature(call(name)).parameters.values()
    assert all(argument.kind is inspect.Parameter.KEYWORD_ONLY for argument in arguments)
    found = {f"p_{argument.name}": argument.default for argument in arguments}
    assert [*found.items()] == [*parameters(FILES.functions[name]).items()]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_call_passes_every_argument_by_its_name(name: str) -> None:
    source = inspect.getsource(call(name))
    assert re.findall(rf"{SCHEMA}\.(\w+)\(", source) == [name]
    passed = re.findall(r"p_(\w+) => %\((\w+)\)s", source)
    assert [f"p_{left}" for left, _ in passed] == [*parameters(FILES.functions[name])]
    assert all(left == right for left, right in passed)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_fields_of_the_record_are_the_columns_of_the_result(db: Db, name: str) -> None:
    [row] = db.execute(RESULT_COLUMNS, (name,)).fetchall()
    assert fields(call(name)) == row["columns"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_call_names_the_file_with_its_contract(name: str) -> None:
    assert f"{name}.sql" in (call(name).__doc__ or "")


def call(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(calls, name)
    return function


def parameters(function: Function) -> dict[str, object]:
    """Return the parameters that go in, with their defaults, as Python has them."""
    given = [
        node for node in function.tree.parameters or () if node.mode.name != "FUNC_PARAM_TABLE"
    ]
    return {node.name: default(node.defexpr) for node in given}


def default(node: Node) -> object:
    """Return a constant; no default is Python's `empty`."""
    if node is None:
        return inspect.Parameter.empty
    if node.isnull:
        return None
    slots = [slot for slot in ("boolval", "ival", "sval") if hasattr(node.val, slot)]
    return getattr(node.val, slots[0])


def fields(function: Callable[..., Any]) -> list[str] | None:
    """Return the fields of the record that a call gives; None where it gives plain values."""
    returned = get_type_hints(function)["return"]
    record = next(iter(get_args(returned)), None)
    if isinstance(record, type) and dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record)]
    return None

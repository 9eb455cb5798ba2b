"""The check of the schema: the differences that `verify` names, by object, each with its remedy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import psycopg

from jobengine import schema
from jobengine.doctor.findings import Finding, found
from jobengine.doctor.patient import Outcome, Patient
from jobengine.errors import EngineError

_INSTALL = "jobengine install"


@dataclass(slots=True)
class _Object:
    """An object of the schema that differs: its lines that are missing, and those too many."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


_Key: TypeAlias = tuple[str, str]  # kind and name
_NAMES: tuple[tuple[str, str], ...] = (
    ("migration", r"migration (\S+) "),
    ("grant", r"grant \S+ on ((?:function )?\S+) to "),
    ("public grant", r"public grant on function (\S+)"),
    ("owner", r"other owner of (?:function )?(\S+)"),
    ("function", r"function (\w+)\("),
    ("table", r"table (\S+)"),
    ("column", r"column (\S+) "),
    ("constraint", r"constraint (.+)"),
    ("index", r"index CREATE (?:UNIQUE )?INDEX (\S+) ON "),
    ("policy", r"policy (\S+ \S+) "),
    ("trigger", r"trigger (\S+ \S+)"),
    ("view", r"view (\S+) "),
)


async def objects(patient: Patient) -> Outcome:
    """Is the schema as this library installs it."""
    lines = await _differences(patient)
    if lines == ["- schema jobengine"]:
        return [found("not_installed", "schema jobengine does not exist", _INSTALL)]
    differing = _by_object(lines)
    findings = [
        finding
        for key, difference in differing.items()
        if not _follows(key, differing)
        for finding in _judged(key, difference)
    ]
    return findings or "as this version installs it"


async def _differences(patient: Patient) -> list[str]:
    try:
        async with patient.reading():
            return await schema.verify(patient.conn)
    except EngineError as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None  # as from every other query
        raise


def _by_object(lines: list[str]) -> dict[_Key, _Object]:
    found_objects: dict[_Key, _Object] = defaultdict(_Object)
    for line in lines:
        sign, _, text = line.partition(" ")
        difference = found_objects[_key(text)]
        (difference.missing if sign == "-" else difference.unexpected).append(text)
    return found_objects


def _key(text: str) -> _Key:
    for kind, pattern in _NAMES:
        if match := re.match(pattern, text):
            return kind, match[1]
    kind, _, name = text.partition(" ")
    return kind, name


def _follows(key: _Key, differing: dict[_Key, _Object]) -> bool:
    """Tell whether it differs only because what it belongs to is not there, or is not ours."""
    kind, name = key
    owner = re.split(r"[. ]", name.removeprefix("jobengine."))[0]
    if kind == "index":
        line = (differing[key].missing + differing[key].unexpected)[0]
        owner = line.partition(" ON jobengine.")[2].split(" ")[0]
        if any(_brings(*constraint, line, differing[key]) for constraint in differing.items()):
            return True
    elif kind == "grant":
        owner = name.split(" ")[-1]
    of_table = kind in {"column", "constraint", "index", "policy", "grant", "owner"}
    of_function = kind in {"grant", "public grant", "owner"}
    return (
        of_table and (_whole(differing, "table", owner) or _whole(differing, "view", owner))
    ) or (of_function and _whole(differing, "function", owner))


def _brings(key: _Key, constraint: _Object, index: str, difference: _Object) -> bool:
    """Tell whether the key constraint is missing, or too much, and the index with it."""
    kind, definition = key
    match = re.fullmatch(r"jobengine\.(\S+) (?:PRIMARY KEY|UNIQUE) (.+)", definition)
    return (
        kind == "constraint"
        and match is not None
        and index.startswith("index CREATE UNIQUE INDEX ")
        and index.endswith(f" ON jobengine.{match[1]} USING btree {match[2]}")
        and bool(constraint.missing) == bool(difference.missing)
        and bool(constraint.unexpected) == bool(difference.unexpected)
    )


def _whole(differing: dict[_Key, _Object], kind: str, name: str) -> bool:
    """Tell whether all of an object is missing or too much; one to be replaced is both."""
    owner = differing.get((kind, name))
    if owner is None:
        return False
    one_sided = bool(owner.missing) != bool(owner.unexpected)
    return one_sided or (kind == "function" and _head(owner.missing) != _head(owner.unexpected))


def _judged(key: _Key, difference: _Object) -> Iterator[Finding]:
    kind, name = key
    if judge := _JUDGES.get(kind):
        yield from judge(name, difference)
    elif difference.missing and difference.unexpected:
        yield found(
            "altered", _seen(key, difference), _REMEDIES.get(kind, _restore)(key, difference)
        )
    elif difference.missing:
        yield found("missing", f"{kind} {name}", _REMEDIES.get(kind, _restore)(key, difference))
    else:
        yield found("unexpected", f"{kind} {name}", _remove(key, difference))


def _seen(key: _Key, difference: _Object) -> str:
    kind, name = key
    if kind in {"function", "view"}:
        return f"{kind} {name}"
    return f"{difference.unexpected[0]}; it should be: {difference.missing[0]}"


def _migration(name: str, difference: _Object) -> Iterator[Finding]:
    if difference.missing and difference.unexpected:
        remedy = "-- the files of this library are not those that were applied: install the release"
        yield found("migration_edited", name, remedy)
    elif difference.missing:
        yield found("database_older", f"{name} is not applied", _INSTALL)
    else:
        remedy = "-- use the newer library: pip install --upgrade jobengine"
        yield found("database_newer", f"the database has {name}, which is not here", remedy)


def _grant(name: str, difference: _Object) -> Iterator[Finding]:
    if difference.missing:
        seen = f"on {name}: " + ", ".join(_without_object(line) for line in difference.missing)
        yield found("grant_missing", seen, _INSTALL)
    if difference.unexpected:
        remedy = "\n".join(_revoked(line) for line in difference.unexpected)
        yield found("grant_unexpected", "; ".join(difference.unexpected), remedy)


def _without_object(line: str) -> str:
    """Return `execute to jobengine_client`."""
    return re.sub(r"^grant (\S+) on .* to ", r"\1 to ", line)


def _revoked(line: str) -> str:
    match = re.match(r"grant (\S+) on (function )?(\S+) to (\S+)", line)
    assert match
    privilege, function, name, role = match.groups()
    target = "schema jobengine" if name == "schema" else f"{function or ''}jobengine.{name}"
    return f"revoke {privilege} on {target} from {role};"


def _public_grant(name: str, _: _Object) -> Iterator[Finding]:
    remedy = f"revoke execute on function jobengine.{name} from public;"
    yield found("grant_unexpected", f"everybody may call function {name}", remedy)


def _owner(name: str, difference: _Object) -> Iterator[Finding]:
    kind = "function" if "function" in difference.unexpected[0] else "table"
    remedy = f"alter {kind} jobengine.{name} owner to jobengine_owner;"
    yield found("altered", f"{kind} {name} has another owner", remedy)


def _table(name: str, difference: _Object) -> Iterator[Finding]:
    if not difference.unexpected:
        remedy = (
            "-- its rows are gone: restore it from a backup; without one, for an empty engine:\n"
            "-- drop schema jobengine cascade;   then: jobengine install"
        )
        yield found("missing", f"table {name}", remedy)
    elif not difference.missing:
        yield found("unexpected", f"table {name}", f"drop table jobengine.{name};")
    else:
        yield from _table_altered(name, difference.missing[0], difference.unexpected[0])


def _table_altered(name: str, wanted: str, there: str) -> Iterator[Finding]:
    flags = {
        " unlogged": ("set unlogged", "set logged"),
        " row level security": ("enable row level security", "disable row level security"),
        " forced": ("force row level security", "no force row level security"),
    }
    actions = [
        on if flag in wanted else off
        for flag, (on, off) in flags.items()
        if (flag in wanted) != (flag in there)
    ]
    if actions:
        remedy = "\n".join(f"alter table jobengine.{name} {action};" for action in actions)
        yield found("altered", f"{there}; it should be: {wanted}", remedy)
    if remedy := _settings_remedy(name, _settings(wanted), _settings(there)):
        seen = f"{name} has {_settings(there) or 'no settings'}, not {_settings(wanted) or 'none'}"
        yield found("table_settings", re.sub(r"[{}']", "", seen), remedy)


def _settings(line: str) -> dict[str, str]:
    """Return a table's own settings: what follows `with`."""
    pairs = filter(None, line.partition(" with ")[2].split(", "))
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}


def _settings_remedy(name: str, wanted: dict[str, str], there: dict[str, str]) -> str:
    change = ", ".join(
        f"{key} = {value}" for key, value in wanted.items() if there.get(key) != value
    )
    drop = ", ".join(there.keys() - wanted.keys())
    parts = [f"set ({change})" if change else "", f"reset ({drop})" if drop else ""]
    return "\n".join(f"alter table jobengine.{name} {part};" for part in parts if part)


def _install_again(_key: _Key, _difference: _Object) -> str:
    return _INSTALL


def _function(key: _Key, difference: _Object) -> str:
    """Install again; what `create or replace` cannot replace is dropped before."""
    if difference.unexpected and _head(difference.missing) != _head(difference.unexpected):
        return "\n".join([*map(_drop_function, difference.unexpected), _INSTALL])
    return _install_again(key, difference)


def _head(lines: list[str]) -> list[str]:
    return [
        re.split(r" [ivs](?: strict)?(?: security definer)?(?: set .*)? \w+$", line)[0]
        for line in lines
    ]


def _drop_function(line: str) -> str:
    signature = line.removeprefix("function ").partition(" returns ")[0]
    return f"drop function jobengine.{re.sub(r' DEFAULT [^,)]+', '', signature)};"


def _view(key: _Key, difference: _Object) -> str:
    return (
        f"drop view jobengine.{key[1]} cascade;\n{_INSTALL}" if difference.unexpected else _INSTALL
    )


def _index(key: _Key, difference: _Object) -> str:
    drop = [f"drop index jobengine.{key[1]};"] if difference.unexpected else []
    return "\n".join([*drop, *(f"{line.removeprefix('index ')};" for line in difference.missing)])


def _policy(key: _Key, difference: _Object) -> str:
    table, name = key[1].split(" ")
    drop = [f"drop policy {name} on jobengine.{table};"] if difference.unexpected else []
    return "\n".join([*drop, _INSTALL])


def _constraint(_key: _Key, difference: _Object) -> str:
    table, _, definition = difference.missing[0].removeprefix("constraint ").partition(" ")
    return f"alter table {table} add {definition};"


def _column(key: _Key, difference: _Object) -> str:
    if difference.unexpected:
        return _restore(key, difference)
    table, _, column = difference.missing[0].removeprefix("column ").partition(".")
    return f"alter table jobengine.{table} add column {column};"


def _restore(key: _Key, _difference: _Object) -> str:
    return f"-- make {key[0]} {key[1]} as sql/engine/migrations has it"


def _remove(key: _Key, difference: _Object) -> str:
    kind, name = key
    if removal := _REMOVALS.get(kind):
        return removal(key, difference)
    if kind in {"trigger", "policy"}:
        table, own = name.split(" ")
        return f"drop {kind} {own} on jobengine.{table};"
    if kind == "column":
        table, own = name.split(".")
        return f"alter table jobengine.{table} drop column {own};"
    if kind in {"view", "type", "sequence"}:
        return f"drop {kind} jobengine.{name};"
    return f"-- move it to a schema of your own: {difference.unexpected[0]}"


def _remove_function(_key: _Key, difference: _Object) -> str:
    return "\n".join(map(_drop_function, difference.unexpected))


def _remove_constraint(key: _Key, _difference: _Object) -> str:
    """Say how to find its name, which `verify` does not compare."""
    table, _, definition = key[1].partition(" ")
    which = f"conrelid = '{table}'::regclass and pg_get_constraintdef(oid) = {_quoted(definition)}"
    return (
        f"-- find its name:  select conname from pg_constraint where {which};\n"  # noqa: S608
        f"-- then:  alter table {table} drop constraint NAME;"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_JUDGES: dict[str, Callable[[str, _Object], Iterator[Finding]]] = {
    "migration": _migration,
    "grant": _grant,
    "public grant": _public_grant,
    "owner": _owner,
    "table": _table,
}
_REMOVALS: dict[str, Callable[[_Key, _Object], str]] = {
    "function": _remove_function,
    "index": _index,
    "constraint": _remove_constraint,
}
_REMEDIES: dict[str, Callable[[_Key, _Object], str]] = {
    "function": _function,
    "view": _view,
    "index": _index,
    "policy": _policy,
    "constraint": _constraint,
    "column": _column,
}

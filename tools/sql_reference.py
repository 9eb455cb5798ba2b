"""Writes docs/sql-reference.md from the headers of the SQL functions.

`python3 dev.py exec python tools/sql_reference.py`; a test tells when it was forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from jobengine import schema
from tools.sql_rules import headers
from tools.sql_rules.reading import Engine, Function, read
from tools.sql_rules.rights import granted_functions, granted_roles

TARGET = Path(__file__).parent.parent / "docs" / "sql-reference.md"
INTRODUCTION = """\
# SQL reference

Written by `tools/sql_reference.py` from the headers of `sql/engine/functions/*.sql`: change those.
`nox -s sql` compares each header with its body. Statuses and verdicts: [states.md](states.md).
"""


def reference(engine: Engine) -> str:
    """Return the text of docs/sql-reference.md."""
    public = [engine.functions[name] for name in sorted(granted_functions(engine), key=_order)]
    internal = [
        function for name, function in sorted(engine.functions.items()) if function not in public
    ]
    return "\n".join(
        [
            INTRODUCTION,
            "## Functions that roles may call\n",
            *_sections(engine, public),
            "## Internal functions\n",
            "Nobody but the owner of the schema may call them.\n",
            *_sections(engine, internal),
        ]
    )


def _order(name: str) -> tuple[bool, str]:
    """Functions for everybody first, then those that only the library calls."""
    return name.startswith("_"), name


def _sections(engine: Engine, functions: list[Function]) -> Iterator[str]:
    roles = granted_roles(engine)
    for function in functions:
        header = headers.parse(function)
        yield f"### {function.name}\n"
        yield f"{header.sentence[0].upper()}{header.sentence[1:]}\n"
        yield f"```sql\n{_signature(function)}\n```\n"
        for field, text in header.fields.items():
            yield f"- **{field}**: {text}"
        if function.name in roles:
            yield f"- **Roles**: {roles[function.name]}"
        yield ""


def _signature(function: Function) -> str:
    """Return the declaration up to its options, as the file has it."""
    lines = function.path.read_text().splitlines()[function.line - 1 :]
    end = next(number for number, line in enumerate(lines) if line.startswith("language "))
    return "\n".join(lines[:end]).removeprefix("create or replace function ")


def main() -> int:
    """Write the file."""
    TARGET.write_text(reference(read(schema.sql_folder())))
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

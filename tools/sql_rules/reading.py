"""Reads the engine's SQL files into what the rules look at: text, header, options, statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pglast import ast

from tools.sql_rules.code import Code, Node, dotted, is_a, parsed, procedural, statements


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A broken rule, and where."""

    path: Path
    line: int
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Function:
    """One `create function`, with the comment above it."""

    path: Path
    name: str
    schema: str
    line: int
    tree: Node
    header: tuple[str, ...]
    body: str
    body_line: int
    code: Code

    @property
    def search_path(self) -> bool:
        """Whether its search path is pinned."""
        return any(option.name == "search_path" for option in self._options("set"))

    @property
    def security_definer(self) -> bool:
        """Whether it runs with its owner's rights."""
        return any(option.boolval for option in self._options("security"))

    @property
    def returned(self) -> str:
        """The name of the type it returns."""
        return dotted(self.tree.returnType.names) if self.tree.returnType else ""

    @property
    def declared(self) -> dict[str, str]:
        """The type of each variable, as it is written."""
        head = self.body.partition("\nbegin\n")[0]
        return dict(re.findall(r"^ +(\w+) ([\w.]+(?:\[\])?)(?= *(?:;|:=))", head, re.MULTILINE))

    def _options(self, name: str) -> Iterator[Any]:
        return (option.arg for option in self.tree.options if option.defname == name)


@dataclass(frozen=True, slots=True)
class Script:
    """A file that is not a function: a migration, the view, grants."""

    path: Path
    code: Code


@dataclass(frozen=True, slots=True)
class Engine:
    """Every SQL file of a folder; the functions by the names of their files."""

    folder: Path
    functions: dict[str, Function]
    scripts: tuple[Script, ...]
    types: frozenset[str]
    tables: frozenset[str]
    problems: tuple[Finding, ...]
    """Files in `functions` that hold none, or several."""

    @property
    def files(self) -> list[Path]:
        """All of them, in order."""
        return sorted(self.folder.rglob("*.sql"))


def read(folder: Path) -> Engine:
    """Read every SQL file of an engine's folder."""
    scripts = tuple(
        Script(path, _script_code(path.read_text()))
        for path in sorted(folder.rglob("*.sql"))
        if path.parent.name != "functions"
    )
    found = [_read_function(path) for path in sorted((folder / "functions").glob("*.sql"))]
    return Engine(
        folder=folder,
        functions={item.path.stem: item for item in found if isinstance(item, Function)},
        scripts=scripts,
        types=_created(scripts, ast.CompositeTypeStmt, "typevar"),
        tables=_created(scripts, ast.CreateStmt, "relation"),
        problems=tuple(item for item in found if isinstance(item, Finding)),
    )


def _created(scripts: tuple[Script, ...], kind: type[ast.Node], slot: str) -> frozenset[str]:
    return frozenset(
        getattr(node, slot).relname for script in scripts for _, node in script.code.find(kind)
    )


def _read_function(path: Path) -> Function | Finding:
    text = path.read_text()
    trees = [raw.stmt for raw in parsed(text)]
    if len(trees) != 1 or not is_a(trees[0], ast.CreateFunctionStmt):
        return Finding(path, 1, "one-function", "a file holds one `create function`, nothing else")
    tree = trees[0]
    lines = text.splitlines()
    line = next(n for n, content in enumerate(lines, 1) if content.startswith("create "))
    body = _option(tree.options, "as")[0].sval
    body_line = _line_of(body, text)
    plain = _option(tree.options, "language").sval == "sql"
    *schema, name = (part.sval for part in tree.funcname)
    return Function(
        path=path,
        name=name,
        schema=".".join(schema),
        line=line,
        tree=tree,
        header=tuple(lines[: line - 1]),
        body=body,
        body_line=body_line,
        code=Code(tuple(statements(body, body_line))) if plain else procedural(text, body_line),
    )


def _script_code(text: str) -> Code:
    """Read a plain file; what is inside of its `do` blocks counts as well."""
    plain = tuple(statements(text, 1))
    blocks = [
        procedural(
            item.text, item.line + _line_of(_option(item.tree.args, "as").sval, item.text) - 1
        )
        for item in plain
        if is_a(item.tree, ast.DoStmt)
    ]
    return Code(
        plain + tuple(inner for block in blocks for inner in block.statements),
        tuple(inner for block in blocks for inner in block.blocks),
    )


def _option(options: tuple[Node, ...], name: str) -> Node:
    return next(option.arg for option in options if option.defname == name)


def _line_of(part: str, text: str) -> int:
    return text.count("\n", 0, text.index(part)) + 1

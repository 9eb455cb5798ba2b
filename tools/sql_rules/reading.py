"""Reads the engine's SQL files into what the rules look at: text, header, options, statements.

PostgreSQL's own parser does the reading (pglast), of SQL and of PL/pgSQL alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pglast import ast, parse_plpgsql, parse_sql

SCHEMA = "jobengine"
# What comes before a bare expression of PL/pgSQL, to make a statement of it.
_EXPRESSION = "select "
# Modes of PL/pgSQL's expressions: 0 is a statement, 2 an expression, above an assignment.
_STATEMENT_MODE, _EXPRESSION_MODE = 0, 2

# A node of the parser's tree. pglast types every slot as optional; the grammar says which are not.
Node = Any


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A broken rule, and where."""

    path: Path
    line: int
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement or expression, wherever it stands."""

    text: str
    line: int
    tree: Node
    target: str | None = None
    """The variable that receives the row of `select … into`."""

    def find(self, kind: type[ast.Node]) -> Iterator[Node]:
        """Every node of this kind in it."""
        return (node for node in walk(self.tree) if isinstance(node, kind))

    def line_of(self, location: int) -> int:
        """The file's line of a place in the text; a place is counted in bytes."""
        return self.line + self.text.encode()[: max(location, 0)].count(b"\n")


@dataclass(frozen=True, slots=True)
class Block:
    """What a statement of PL/pgSQL tells beyond the SQL in it."""

    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Code:
    """A body: of a function, of a `do` block, or the statements of a plain file."""

    statements: tuple[Statement, ...]
    blocks: tuple[Block, ...] = ()
    raised: frozenset[str] = frozenset()
    """The error codes of its `raise` statements."""

    def find(self, kind: type[ast.Node]) -> Iterator[tuple[Statement, Node]]:
        """Every node of this kind, with the statement it stands in."""
        for statement in self.statements:
            for node in statement.find(kind):
                yield statement, node


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
    text: str
    code: Code


@dataclass(frozen=True, slots=True)
class Engine:
    """Every SQL file of a folder."""

    folder: Path
    functions: dict[str, Function]
    scripts: tuple[Script, ...]
    types: frozenset[str]
    tables: frozenset[str]
    problems: tuple[Finding, ...]
    """Files that hold no function, or several, or no SQL at all."""

    @property
    def files(self) -> list[Path]:
        """All of them, in order."""
        return sorted(self.folder.rglob("*.sql"))


def walk(node: object) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    if isinstance(node, ast.Node):
        yield node
        for slot in node:
            yield from walk(getattr(node, slot))
    elif isinstance(node, tuple):
        for part in node:
            yield from walk(part)


def is_a(node: Node, *kinds: type[ast.Node]) -> bool:
    """Tell the kind of a node, which stays untyped."""
    return isinstance(node, kinds)


def dotted(names: tuple[Any, ...]) -> str:
    """Write a qualified name as it is written in SQL."""
    return ".".join(name.sval for name in names)


def _parsed(text: str) -> list[Node]:
    return list(parse_sql(text))


def read(folder: Path) -> Engine:
    """Read every SQL file of an engine's folder."""
    scripts = tuple(
        Script(path, path.read_text(), _code(path.read_text()))
        for path in sorted(folder.rglob("*.sql"))
        if path.parent.name != "functions"
    )
    found = [_read_function(path) for path in sorted((folder / "functions").glob("*.sql"))]
    return Engine(
        folder=folder,
        functions={item.name: item for item in found if isinstance(item, Function)},
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
    trees = [raw.stmt for raw in _parsed(text)]
    if len(trees) != 1 or not is_a(trees[0], ast.CreateFunctionStmt):
        return Finding(path, 1, "one-function", "a file holds one `create function`, nothing else")
    tree = trees[0]
    lines = text.splitlines()
    line = next(n for n, content in enumerate(lines, 1) if content.startswith("create "))
    *schema, name = (part.sval for part in tree.funcname)
    body, body_line = _body(text, tree.options)
    return Function(
        path=path,
        name=name,
        schema=".".join(schema),
        line=line,
        tree=tree,
        header=tuple(lines[: line - 1]),
        body=body,
        body_line=body_line,
        code=_function_code(text, body, body_line, tree),
    )


def _body(text: str, options: tuple[Node, ...]) -> tuple[str, int]:
    """Return the text between the dollars and the line that it begins on."""
    body: str = next(option.arg[0].sval for option in options if option.defname == "as")
    return body, text.count("\n", 0, text.index(body)) + 1


def _function_code(text: str, body: str, line: int, tree: Node) -> Code:
    language = next(option.arg.sval for option in tree.options if option.defname == "language")
    if language == "sql":
        return Code(tuple(_statements(body, line)))
    return _procedural(text, line)


def _code(text: str) -> Code:
    """Read a plain file; what is inside of its `do` blocks counts as well."""
    plain, blocks = [], []
    for statement in _statements(text, 1):
        if is_a(statement.tree, ast.DoStmt):
            body = next(arg.arg.sval for arg in statement.tree.args if arg.defname == "as")
            line = statement.line + statement.text.count("\n", 0, statement.text.index(body))
            blocks.append(_procedural(statement.text, line))
        plain.append(statement)
    return Code(
        tuple(plain) + tuple(inner for block in blocks for inner in block.statements),
        tuple(inner for block in blocks for inner in block.blocks),
    )


def _statements(text: str, line: int) -> Iterator[Statement]:
    encoded = text.encode()
    for raw in _parsed(text):
        start = raw.stmt_location
        end = start + raw.stmt_len if raw.stmt_len else len(encoded)
        begun = len(encoded[start:end]) - len(encoded[start:end].lstrip())
        before = encoded[: start + begun].decode()
        part = encoded[start + begun : end].decode()
        yield Statement(part, line + before.count("\n"), _parsed(part)[0].stmt)


def _procedural(text: str, line: int) -> Code:
    statements: list[Statement] = []
    blocks: list[Block] = []
    raised: set[str] = set()
    for kind, content, at in _parts(parse_plpgsql(_readable(text)), line):
        if kind == "PLpgSQL_expr":
            statements.append(_expression(content, at))
        else:
            blocks.append(Block(kind.removeprefix("PLpgSQL_"), at))
        if kind == "PLpgSQL_stmt_raise":
            raised.update(_raised(content))
        if kind == "PLpgSQL_stmt_execsql":
            target = content.get("target", {})
            inner = _expression(content["sqlstmt"]["PLpgSQL_expr"], at, _target(target))
            statements.append(inner)
    return Code(tuple(statements), tuple(blocks), frozenset(raised))


def _readable(text: str) -> str:
    """Replace our types in the declarations, which the parser looks up in a catalog it lacks."""
    head, begin, rest = text.partition("\nbegin\n")
    head = re.sub(rf"\b{SCHEMA}\.\w+\[\]", "text[]", head)
    head = re.sub(rf"(\n +\w+) {SCHEMA}\.\w+;", r"\1 record;", head)
    head = re.sub(rf"\b(setof|returns) {SCHEMA}\.\w+\b(?!\()", r"\1 text", head)
    return head + begin + rest


def _parts(node: object, line: int, at: int = 0) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield every node of PL/pgSQL's tree with the file's line of the statement it belongs to."""
    if isinstance(node, list):
        for part in node:
            yield from _parts(part, line, at)
    elif isinstance(node, dict):
        for kind, content in node.items():
            here = at
            if isinstance(content, dict) and "lineno" in content:
                here = line + content["lineno"] - 1
            if kind.startswith("PLpgSQL_"):
                yield kind, content, here
            # The statement itself is read where its target is known.
            inner = (
                {k: v for k, v in content.items() if k != "sqlstmt"}
                if kind == "PLpgSQL_stmt_execsql"
                else content
            )
            yield from _parts(inner, line, here)


def _expression(content: dict[str, Any], line: int, target: str | None = None) -> Statement:
    query, mode = content["query"], content["parseMode"]
    if mode > _EXPRESSION_MODE:
        query = query.partition(":=")[2].strip()
    text = query if mode == _STATEMENT_MODE else _EXPRESSION + query
    return Statement(text, line, _parsed(text)[0].stmt, target)


def _target(target: dict[str, Any]) -> str | None:
    name: str | None = target.get("PLpgSQL_rec", {}).get("refname")
    return name


def _raised(content: dict[str, Any]) -> Iterator[str]:
    for option in content.get("options", ()):
        yield from re.findall(
            r"'(JE\d{3})'", option["PLpgSQL_raise_option"]["expr"]["PLpgSQL_expr"]["query"]
        )

"""A rough check of MQL5 source: not a compiler, but it fails where a beginner's mistake is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_HANDLERS = (
    "OnTick",
    "OnStart",
    "OnCalculate",
    "OnTimer",
    "OnTrade",
    "OnTradeTransaction",
    "OnBookEvent",
    "OnChartEvent",
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<open_comment>/\*)|(?P<open_string>["'])|(?P<bracket>[()\[\]{}])|(?P<other>\w+|.)""",
    re.DOTALL,
)


class Finding(NamedTuple):
    """A mistake, and where it is."""

    line: int
    column: int
    message: str


class _Code(NamedTuple):
    """A source's words, without comments and texts, and the mistakes met on the way."""

    words: Sequence[str]
    errors: Sequence[Finding]


def check(source: str) -> tuple[Sequence[Finding], Sequence[Finding]]:
    """Return errors and warnings: brackets, unfinished texts and comments, missing handlers."""
    code = _read(source)
    errors = [*code.errors]
    if not errors and not _defined(code.words, *_HANDLERS):
        errors.append(Finding(1, 1, "event handling function not found"))
    warnings = []
    if not errors and _defined(code.words, "OnTick") and not _defined(code.words, "OnInit"):
        warnings.append(Finding(1, 1, "function 'OnInit' is not defined"))
    return errors, warnings


def _read(source: str) -> _Code:
    words: list[str] = []
    errors: list[Finding] = []
    opened: list[tuple[str, int]] = []
    for token in _TOKEN.finditer(source):
        text, at = token[0], token.start()
        if token.lastgroup == "skip":
            continue
        words.append(text)
        if token.lastgroup == "open_comment":
            errors.append(_finding(source, at, "unexpected end of file: comment is not closed"))
            return _Code(words, errors)
        if token.lastgroup == "open_string":
            errors.append(_finding(source, at, "newline in string constant"))
        elif token.lastgroup == "bracket":
            errors += _bracket(source, text, at, opened)
    errors += [_finding(source, at, f"'{text}' - unbalanced parentheses") for text, at in opened]
    return _Code(words, sorted(errors))


def _bracket(source: str, text: str, at: int, opened: list[tuple[str, int]]) -> Sequence[Finding]:
    if text not in _CLOSES:
        opened.append((text, at))
        return []
    if opened and opened[-1][0] == _CLOSES[text]:
        opened.pop()
        return []
    return [_finding(source, at, f"'{text}' - unexpected token")]


def _defined(words: Sequence[str], *names: str) -> bool:
    """Tell whether a function of one of these names has a body."""
    for place, word in enumerate(words):
        if word in names and "(" in words[place + 1 : place + 2]:
            rest = words[place:]
            end = rest.index(")") if ")" in rest else len(rest)
            if "{" in rest[end + 1 : end + 3]:
                return True
    return False


def _finding(source: str, at: int, message: str) -> Finding:
    line_start = source.rfind("\n", 0, at) + 1
    return Finding(source.count("\n", 0, at) + 1, at - line_start + 1, message)

"""How the text of a file looks: width, case, characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pglast.parser import scan

from tools.sql_rules.reading import Engine, Finding

MAXIMUM_WIDTH = 120
# The arrow of transitions and the ellipsis; everything else can be typed and searched anywhere.
BEYOND_ASCII = "→…"


def check(engine: Engine) -> Iterator[Finding]:
    """Check the text of every file."""
    for path in engine.files:
        text = path.read_text()
        for number, line in enumerate(text.split("\n"), 1):
            for rule, message in _line(line):
                yield Finding(path, number, rule, message)
        if not text.endswith("\n") or text.endswith("\n\n"):
            yield Finding(path, text.count("\n"), "white-space", "a file ends with one line end")
        for start, word in _capitals(text):
            line_number = text.count("\n", 0, start) + 1
            yield Finding(path, line_number, "lower-case", f"{word}: words are lower case")


def _line(line: str) -> Iterator[tuple[str, str]]:
    if len(line) > MAXIMUM_WIDTH:
        yield "line-length", f"{len(line)} characters, at most {MAXIMUM_WIDTH}"
    if "\t" in line or line != line.rstrip():
        yield "white-space", "a tab, or white space at the end"
    if found := re.search(rf"[^\x20-\x7e\t{BEYOND_ASCII}]", line):
        yield "characters", f"{found[0]!r} is neither ASCII nor one of {BEYOND_ASCII}"


def _capitals(text: str, offset: int = 0) -> Iterator[tuple[int, str]]:
    """Yield words with capitals outside of comments and strings, and where they are."""
    for token in scan(text):
        word = text[token.start : token.end + 1]
        if word.startswith("$"):
            inner = re.fullmatch(r"(\$\w*\$)(.*)\1", word, re.DOTALL)
            if inner:
                yield from _capitals(inner[2], offset + token.start + inner.start(2))
        elif re.fullmatch(r"\w+", word) and word != word.lower():
            yield offset + token.start, word

"""Reads the tables and diagrams of the documents, for tests that keep them true."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def tables(name: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of each table of a document, by the first column's title."""
    found: dict[str, list[tuple[str, ...]]] = {}
    title = ""
    for line in (DOCS / name).read_text().splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not line.startswith("|"):
            title = ""
        elif not title:
            title = cells[0]
            found[title] = []
        elif not set(cells[0]) <= {"-"}:
            found[title].append(cells)
    return found


def code(cell: str) -> str:
    """Return the text of a cell that is one piece of code."""
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"not one piece of code: {cell}"
    return match[1]


def diagram(name: str) -> set[tuple[str, str]]:
    """Return the arrows of a document's state diagram; `[*]` is `none`."""
    text = (DOCS / name).read_text()
    arrows: list[tuple[str, str]] = re.findall(r"^ +(\S+) --> (\S+)$", text, re.MULTILINE)
    return {
        (before.replace("[*]", "none"), after.replace("[*]", "none")) for before, after in arrows
    }

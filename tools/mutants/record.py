"""A planted bug: what is changed, what it would cost a user, and which test has to find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FUNCTIONS = "sql/engine/functions"
STRUCTURE = "sql/engine/migrations/0001_engine.sql"


class DoesNotApply(Exception):
    """The text that a mutant changes is not in its file, or not once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: `old` stands exactly once in the file."""

    file: str
    old: str
    new: str

    def of(self, text: str) -> str:
        """Return the file's text with the change; `DoesNotApply` where it has no one place."""
        if (places := text.count(self.old)) != 1:
            raise DoesNotApply(f"{self.file}: {self.old!r} is there {places} times")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Chaos:
    """A run of `python -m tests.chaos` that has to find the bug as well."""

    seed: int
    seconds: int
    profile: str = "all"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: `edits` make it, `breaks` says what a user would suffer, `found_by` is a pytest id."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    found_by: str
    chaos: Chaos | None = None

    def plant(self, root: Path) -> None:
        """Change the files below `root`."""
        for edit in self.edits:
            path = root / edit.file
            path.write_text(edit.of(path.read_text()))


def function(name: str, old: str, new: str) -> Edit:
    """Change a SQL function."""
    return Edit(f"{FUNCTIONS}/{name}.sql", old, new)


def structure(old: str, new: str) -> Edit:
    """Change the tables, types and indexes."""
    return Edit(STRUCTURE, old, new)


def module(name: str, old: str, new: str) -> Edit:
    """Change a module of the library."""
    return Edit(f"jobengine/{name}.py", old, new)

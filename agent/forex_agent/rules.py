"""What a setting may be: a rule in words, and the function that reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Rule:
    """`read` returns the value, or raises ValueError or TypeError; `words` say what is allowed."""

    words: str
    read: Callable[[object], object]


def number(low: float, high: float) -> Rule:
    """Accept a number within these bounds, from a file or from text."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        found = float(value)
        if not low <= found <= high:
            raise ValueError
        return found

    return Rule(f"a number from {low:g} to {high:g}", read)


def whole(low: int, high: int) -> Rule:
    """Accept a whole number within these bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError
        found = int(value)
        if not low <= found <= high:
            raise ValueError
        return found

    return Rule(f"a whole number from {low} to {high}", read)


def choice(*words: str) -> Rule:
    """Accept one of these words."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return Rule("one of " + ", ".join(words), read)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return value.strip()


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _names(value: object) -> Sequence[str]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise TypeError
    return tuple(_text(part) for part in parts if part != "")


def _url(value: object) -> str:
    text = _text(value).rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError  # as does a port that is none
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError
    return text


TEXT = Rule("text, not empty", _text)
FLAG = Rule("true or false", _flag)
NAMES = Rule("a list of names; in the environment with commas between them", _names)
URL = Rule("an http:// or https:// address", _url)
ID = Rule("an id such as 6f1c…-…", lambda value: str(UUID(_text(value))))
PATH = Rule("a path", lambda value: Path(_text(value)).expanduser())

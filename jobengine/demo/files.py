"""The files of a folder: found, named so that JSON can carry them, and hashed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashed:
    """What a file holds: its length, and 63 bits of its SHA-256."""

    bytes: int
    digest: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the tree, as it was when it was found."""

    folder: str
    path: str
    version: tuple[int, int, int]


def find(root: Path) -> Iterator[Found]:
    """Yield the regular files under `root`; dot-folders and links are left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 - os.walk's own strings
            if (version := version_of(path)) is not None:
                yield Found(_encoded(folder), _encoded(path), version)


def version_of(path: str | bytes) -> tuple[int, int, int] | None:
    """Return what tells that a file has changed; None where there is no regular file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _encoded(path: str) -> str:
    """Return a path as text that JSON and PostgreSQL carry, whatever its bytes are."""
    return quote_from_bytes(os.fsencode(path), safe="/ ")


def decoded(path: str) -> bytes:
    """Return the bytes of an encoded path."""
    return unquote_to_bytes(path)


def hash_file(path: str) -> Hashed:
    """Read the file at the encoded path; OSError where that cannot be done."""
    digest = hashlib.sha256()
    length = 0
    with open(decoded(path), "rb") as file:  # noqa: PTH123 - a path of bytes
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return Hashed(length, int.from_bytes(digest.digest()[:8]) >> 1)

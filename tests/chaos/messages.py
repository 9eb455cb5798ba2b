"""As much of PostgreSQL's protocol as it takes to cut between a commit and its answer."""

from __future__ import annotations

import re

STARTUP_CODES = {"ssl": 80877103, "gss": 80877104, "cancel": 80877102}
_OPERATION = re.compile(rb"jobengine\.([a-z]+)\(", re.IGNORECASE)
_COMMIT = re.compile(rb"\s*commit\b", re.IGNORECASE)


class Frames:
    """Cuts a stream into messages: a byte that names the kind, a length, a body."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the kind and body of every message that is complete now."""
        self._rest += data
        found, start = [], 0
        while len(self._rest) >= start + 5:
            end = start + 1 + int.from_bytes(self._rest[start + 1 : start + 5])
            if len(self._rest) < end:
                break
            found.append((self._rest[start : start + 1], self._rest[start + 5 : end]))
            start = end
        self._rest = self._rest[start:]
        return found


class Requests:
    """Names the engine's operations in what a client sends: `claim`, `finish`, …, `commit`."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._prepared: dict[bytes, str | None] = {}

    def feed(self, data: bytes) -> list[str]:
        """Return the operations that these bytes begin."""
        begun = [self._operation(kind, body) for kind, body in self._frames.feed(data)]
        return [operation for operation in begun if operation]

    def _operation(self, kind: bytes, body: bytes) -> str | None:
        if kind == b"Q":
            return operation_of(body)
        if kind == b"P":
            name, query = body.split(b"\0", 2)[:2]
            self._prepared[name] = operation_of(query)
        elif kind == b"B":
            return self._prepared.get(body.split(b"\0", 2)[1])
        return None


class Answer:
    """Gathers the server's answer to one request; it is complete at ReadyForQuery."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._failed = False
        self.data = b""
        self.complete = False
        self.committed = False

    def feed(self, data: bytes) -> None:
        """Take more bytes of the answer."""
        self.data += data
        for kind, body in self._frames.feed(data):
            self._failed |= kind == b"E"
            if kind == b"Z":
                self.complete = True
                self.committed = body == b"I" and not self._failed


def operation_of(query: bytes) -> str | None:
    """Return the engine's operation that a statement calls, or `commit`."""
    if _COMMIT.match(query):
        return "commit"
    found = _OPERATION.search(query)
    return found[1].decode().lower() if found else None

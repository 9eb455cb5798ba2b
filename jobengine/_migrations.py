"""A folder of SQL files and the database that carries it: migrations once, everything else again.

The engine and what a host builds on it (`api.schema`) install themselves with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import tuple_row

from jobengine.errors import SchemaMismatch


@dataclass(frozen=True, slots=True)
class SqlFolder:
    """The SQL files of one schema; `<schema>._migration` keeps which migrations were applied."""

    path: Path
    schema: str

    async def run(self, conn: AsyncConnection[Any], pattern: str) -> None:
        """Execute the files that match, in the order of their names, without parameters."""
        for file in sorted(self.path.glob(pattern)):
            await conn.execute(file.read_bytes())

    async def migrate(self, conn: AsyncConnection[Any]) -> tuple[str, ...]:
        """Apply the migrations that are new, in order, and return their names.

        Raises `SchemaMismatch` if one was edited after it was applied, or if the database has one
        that this folder lacks.
        """
        recorded = await self.recorded(conn)
        self._check_history(recorded)
        new = [file for file in self._files() if file.name not in recorded]
        for file in new:
            await conn.execute(file.read_bytes())
            await _cursor(conn).execute(
                sql.SQL("insert into {} (name, checksum) values (%s, %s)").format(self._table),
                (file.name, _checksum(file)),
            )
        return tuple(file.name for file in new)

    async def recorded(self, conn: AsyncConnection[Any]) -> dict[str, str]:
        """Return the applied migrations with their checksums."""
        cursor = _cursor(conn)
        await cursor.execute(sql.SQL("select name, checksum from {}").format(self._table))
        return dict(await cursor.fetchall())

    def checksums(self) -> dict[str, str]:
        """Return the migrations of this folder with their checksums, in order."""
        return {file.name: _checksum(file) for file in self._files()}

    def _check_history(self, recorded: dict[str, str]) -> None:
        known = self.checksums()
        if newer := sorted(recorded.keys() - known.keys()):
            raise SchemaMismatch(
                f"this database is newer than this library: it has {', '.join(newer)}"
            )
        if edited := sorted(name for name, checksum in recorded.items() if known[name] != checksum):
            raise SchemaMismatch(f"edited after it was applied: {', '.join(edited)}")

    def _files(self) -> Sequence[Path]:
        return sorted((self.path / "migrations").glob("*.sql"))

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, "_migration")


def _cursor(conn: AsyncConnection[Any]) -> AsyncCursor[Any]:
    """Return a cursor of the usual kind, whatever the program's own pool makes."""
    return AsyncCursor(conn, row_factory=tuple_row)


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

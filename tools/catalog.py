"""Writes catalog.txt of sql/engine and sql/platform: what `install` makes, as `verify` expects it.

Run it after a change of either, and read the change of the file in the review:
`python3 dev.py exec python tools/catalog.py`
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from psycopg import AsyncConnection

from api import schema as platform
from jobengine import schema
from jobengine.embedded import EmbeddedPostgres


async def main(url: str) -> None:
    """Apply the files to an empty database and write down what came out."""
    async with await AsyncConnection.connect(url) as conn:
        await schema.apply(conn)
        _write(schema.sql_folder(), await schema.catalog(conn))
        await platform.apply(conn)
        _write(platform.FOLDER, await platform.catalog(conn))


def _write(folder: Path, lines: list[str]) -> None:
    target = folder / "catalog.txt"
    target.write_text("\n".join(lines) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        asyncio.run(main(server.url))

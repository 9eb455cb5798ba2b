"""Writes sql/engine/catalog.txt: what `install` makes, as `verify` expects it.

Run it after a change of sql/engine, and read the change of the file in the review:
`python3 dev.py exec python tools/catalog.py`
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from psycopg import AsyncConnection

from jobengine import schema
from jobengine.embedded import EmbeddedPostgres


async def main(url: str) -> None:
    """Apply the files to an empty database and write down what came out."""
    target = schema.sql_folder() / "catalog.txt"
    async with await AsyncConnection.connect(url) as conn:
        await schema.apply(conn)
        target.write_text("\n".join(await schema.catalog(conn)) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        asyncio.run(main(server.url))

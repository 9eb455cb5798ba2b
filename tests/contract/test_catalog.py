from __future__ import annotations

import asyncio

from psycopg import AsyncConnection

from jobengine import schema


def test_the_catalog_is_current_on_this_server(database_url: str) -> None:
    """Else: `python tools/catalog.py`; the same file has to be right for every release."""

    async def differences() -> list[str]:
        async with await AsyncConnection.connect(database_url) as conn:
            return await schema.verify(conn)

    assert asyncio.run(differences()) == []

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from api.embedded import EmbeddedValkey
from tests.api.world import server_folder
from tests.conftest import fresh_database
from tests.faults.trades.place import Place, place
from tests.sql.platform.helpers import install, make_roles


@pytest.fixture(scope="module")
def somewhere(admin_url: str, app_role: str) -> Iterator[Place]:
    """A service of this module's own, which is kept alive."""
    make_roles(admin_url, app_role)
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as valkey,
        fresh_database(admin_url) as url,
    ):
        asyncio.run(install(url))
        with place(url, valkey.url, folder) as found:
            yield found

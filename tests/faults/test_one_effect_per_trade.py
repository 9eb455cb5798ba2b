"""`one_effect_per_trade`: whatever dies and when, an order is filled once at most, and known.

60 seeded runs with 6 deaths each; `nox -s soak -- trades` goes on for as long as it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from api.embedded import EmbeddedValkey
from tests.api.world import server_folder
from tests.conftest import fresh_database
from tests.faults.trades.place import Place, place
from tests.faults.trades.run import AGENT_KILLS, SERVICE_KILLS
from tests.sql.platform.helpers import install, make_roles

RUNS = 60


@pytest.fixture(scope="module")
def somewhere(admin_url: str, app_role: str) -> Iterator[Place]:
    make_roles(admin_url, app_role)
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as valkey,
        fresh_database(admin_url) as url,
    ):
        asyncio.run(install(url))
        with place(url, valkey.url, folder) as found:
            yield found


@pytest.mark.parametrize("seed", range(RUNS))
def test_one_effect_per_trade(somewhere: Place, seed: int) -> None:
    result = somewhere.run(f"suite/{seed}")
    assert result.wrong == []
    assert result.killed.total() >= AGENT_KILLS + SERVICE_KILLS
    assert result.fills > 0


def test_an_agent_that_keeps_no_note_of_sending_is_found_out(somewhere: Place) -> None:
    points = ["after fill:1"] * AGENT_KILLS
    result = somewhere.run("planted", points, PLANTED_BUG="forgets what it sent")
    assert any("was filled 2 times" in finding for finding in result.wrong)

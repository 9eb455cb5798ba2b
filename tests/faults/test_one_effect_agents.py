"""`one_effect_per_trade` while agents die: an order is filled once at most, and its fill is known.

20 seeded runs with 5 deaths each, judged by the terminal's own book. With the two files beside it
that makes 60 runs and 300 deaths; `nox -s soak -- trades` goes on for as long as it is told to.
"""

from __future__ import annotations

import re

import pytest

from tests.faults.trades.place import Place
from tests.faults.trades.run import Deaths

DEATHS = Deaths(agent=5)


@pytest.mark.parametrize("seed", range(20))
def test_one_effect_per_trade(somewhere: Place, seed: int) -> None:
    result = somewhere.run(f"agent/{seed}", DEATHS)
    assert result.wrong == []
    assert result.killed.total() >= DEATHS.agent + DEATHS.service
    assert result.fills > 0


def test_an_agent_that_keeps_no_note_of_sending_is_found_out(somewhere: Place) -> None:
    forgetful = {"PLANTED_BUG": "forgets what it sent"}
    result = somewhere.run("planted", Deaths(at=["after fill:1"] * 5, environment=forgetful))
    assert any(re.search(r"was filled \d+ times", finding) for finding in result.wrong)

"""`one_effect_per_trade` while both die: an order is filled once at most, and its fill is known.

20 seeded runs with 5 deaths each, judged by the terminal's own book. With the two files beside it
that makes 60 runs and 300 deaths; `nox -s soak -- trades` goes on for as long as it is told to.
"""

from __future__ import annotations

import pytest

from tests.faults.trades.place import Place
from tests.faults.trades.run import Deaths

DEATHS = Deaths(agent=3, service=2)


@pytest.mark.parametrize("seed", range(20))
def test_one_effect_per_trade(somewhere: Place, seed: int) -> None:
    result = somewhere.run(f"both/{seed}", DEATHS)
    assert result.wrong == []
    assert result.killed.total() >= DEATHS.agent + DEATHS.service
    assert result.fills > 0

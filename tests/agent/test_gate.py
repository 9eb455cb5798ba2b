"""The last look before an order is sent: the trading state that a heartbeat told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from forex_agent.clock import ServerClock
from forex_agent.gate import Gate, Refused
from forex_agent.journal import Journal

from tests.agent.test_journal import a_job

TRADE = replace(a_job(), expires_at=None)
CLOSE = replace(TRADE, job_type="close_position")


@pytest.mark.parametrize("state", ["halted", "reducing"])
def test_the_state_of_a_heartbeat_stops_trades_and_outlives_a_restart(
    tmp_path: Path, state: str
) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        before = Gate(journal, tmp_path / "HALT", ServerClock())
        before.check(TRADE)
        before.learn(state)
        before.learn("a word of a later version")
        refuses(before, f"trading_{state}")
    with Journal(tmp_path / "journal.db") as journal:
        after = Gate(journal, tmp_path / "HALT", ServerClock())
        refuses(after, f"trading_{state}")
        after.learn("active")
        after.check(TRADE)


def refuses(gate: Gate, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        gate.check(TRADE)
    assert refusal.value.code == code
    gate.check(CLOSE)

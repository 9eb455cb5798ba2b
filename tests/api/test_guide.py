"""docs/agent-api.md as it stands, by somebody who has `python -m api up` and a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.test_guide import blocks
from tests.api.world import server_folder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "agent-api.md"


@dataclass
class Up:
    """`python -m api up` in an empty folder."""

    folder: Path
    environment: dict[str, str]
    address: str


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with server_folder() as folder, up_in(folder) as running:
        yield running


def environment_in(folder: Path) -> dict[str, str]:
    """Return the environment of a shell in that folder, which has no servers yet."""
    unset = ("DATABASE_URL", "REDIS_URL", "SUPABASE_JWT_SECRET", "MARKET_DATA_DIR")
    return {
        **{name: value for name, value in os.environ.items() if name not in unset},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JOBENGINE_DATA_DIR": str(folder / ".jobengine"),
    }


@contextmanager
def up_in(folder: Path, *options: str) -> Iterator[Up]:
    environment = environment_in(folder)
    command = [sys.executable, "-m", "api", "up", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            sign = "API=" if options else ""  # said last, when the account can be traded
            yield Up(folder, environment, announced(process, sign))
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def announced(process: subprocess.Popen[str], sign: str) -> str:
    assert process.stderr
    for line in process.stderr:
        if found := re.search(rf"{sign}(http://127\.0\.0\.1:\d+)", line):
            return found[1]
    pytest.fail("the service ended without having served")


def test_the_examples_work_in_their_order(up: Up) -> None:
    printed, shown = run_page(PAGE, up)
    assert printed == shown


def run_page(page: Path, up: Up) -> tuple[list[str], list[str]]:
    """Return what each example of the page printed, and what the page shows.

    One shell runs all of them, as they use each other's variables; a mark ends each output.
    """
    marks, script = [], ["set -euo pipefail"]
    for language, text in (block for block in blocks(page) if block[0] in {"sh", "text"}):
        if language == "sh":
            script += [text, "echo; echo '--8<--'"]
            marks.append("")
        else:
            marks[-1] = text.strip()
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=up.folder,
        env={**up.environment, "API": up.address},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [part.strip() for part in done.stdout.split("--8<--")[:-1]], marks


def test_the_secret_is_the_users_alone(up: Up) -> None:
    secret = up.folder / ".jobengine" / "jwt-secret"
    assert secret.stat().st_mode & 0o077 == 0
    assert len(secret.read_text()) >= 32

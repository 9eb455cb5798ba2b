"""What the README shows is what works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.faults.embedded_owner import cluster_at

README = Path(__file__).parents[2] / "README.md"
PATIENCE = 120.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_two_commands_run_and_test_the_project() -> None:
    assert blocks("sh")[:2] == ["python3 dev.py run\n", "python3 dev.py test\n"]


def test_the_program_runs_as_it_stands(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(blocks("python")[0])
    with cluster_at(tmp_path / "data" / "postgres"):
        said = subprocess.run(
            [sys.executable, "-W", "error", program.name],
            cwd=tmp_path,
            env={**os.environ, "JOBENGINE_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == "completed {'path': 'a.png', 'width': 640}\n"

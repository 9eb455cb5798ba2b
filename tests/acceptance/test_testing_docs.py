"""The suite that docs/testing.md shows is what works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.embedded_owner import cluster_at

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"
PATIENCE = 240.0


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Path]:
    """The document's files, each named in its first line."""
    blocks = re.findall(
        r"^```python\n# (\w+\.py)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == DOCUMENT.read_text().count("```python")
    for name, block in blocks:
        (tmp_path / name).write_text(block)
    with cluster_at(tmp_path / "data" / "postgres"):
        yield tmp_path


def test_the_suite_passes_as_it_stands(suite: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:xdist", "--rootdir=."],
        cwd=suite,
        env={**os.environ, "JOBENGINE_DATA_DIR": str(suite / "data")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "5 passed" in said.stdout

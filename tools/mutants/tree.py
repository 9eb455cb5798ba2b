"""Copies of the checkout to plant bugs in."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def copy_checkout(target: Path) -> None:
    """Copy what is under version control, or could be, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # a file may be gone that git still has
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@contextmanager
def copied(tree: Path) -> Iterator[Path]:
    """Yield a copy that is gone afterwards; byte code that `tree` has is right in it too."""
    with tempfile.TemporaryDirectory(prefix="jobengine-mutant-") as folder:
        yield shutil.copytree(tree, Path(folder) / "tree")

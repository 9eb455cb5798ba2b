"""Every example of the guide runs as it stands, in its order, in a database of its own.

A python block that begins with `# name.py` is kept as that file, other ones are run at once; sh
blocks are run by bash, sql blocks by the database. A text block is what the block before it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import fresh_database

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "guide").glob("*.md")), *sorted(DOCS.glob("testing.md"))]
PATIENCE = 120.0
_RUN = ("python", "sh", "sql", "text")

Block = tuple[str, str]


def blocks(page: Path) -> list[Block]:
    """Return language and text of the fenced blocks."""
    found: list[Block] = re.findall(
        r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    return [block for block in found if block[0] in _RUN]


class Reader:
    """Somebody who does what a page says, in an empty folder."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._url = database_url
        scripts = sysconfig.get_path("scripts")
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "error",
        }

    def does(self, language: str, text: str) -> str:
        """Do what the block says and return what it prints."""
        if language == "sql":
            with psycopg.connect(self._url, autocommit=True) as conn:
                conn.execute(text.encode())
            return ""
        if language == "sh":
            return self._runs("bash", "-euo", "pipefail", "-c", text)
        if name := re.match(r"# (\w+\.py)\n", text):
            (self._folder / name[1]).write_text(text)
            return ""
        return self._runs(sys.executable, "-c", text)

    def _runs(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(admin_url: str, tmp_path: Path) -> Iterator[Reader]:
    with fresh_database(admin_url) as url:
        yield Reader(tmp_path, url)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_work_in_their_order(page: Path, reader: Reader) -> None:
    said = ""
    for language, text in blocks(page):
        if language == "text":
            assert said == text
        else:
            said = reader.does(language, text)


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "guide" / "README.md").read_text()
    pages = {page.name for page in (DOCS / "guide").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()

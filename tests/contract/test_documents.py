"""The documents hang together: every link leads somewhere, every decision has its parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.documents import DOCS

DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
DOCUMENTS = [*sorted(DOCS.parent.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_into_the_project_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name.partition("-")[0]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_says_why_what_and_at_which_cost(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {int(path.name.partition('-')[0])}. ")
    assert re.findall(r"^\*\*(\w+)\.\*\* ", text, re.MULTILINE) == ["Context", "Decision", "Cost"]

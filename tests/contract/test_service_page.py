"""docs/service.md names every variable that the service reads, and every metric of its own."""

from __future__ import annotations

import re
from pathlib import Path

from api import settings
from api.metrics import Metrics
from tests.contract.documents import DOCS, code, tables

PAGE = "service.md"


def test_every_variable_is_there() -> None:
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z\d]+)*)"', Path(settings.__file__).read_text()))
    rows = tables(PAGE)["variable"]
    assert set(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows))) == read


def test_every_metric_is_there() -> None:
    told = dict(re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().text(), re.MULTILINE))
    assert {code(row[0]): row[1] for row in tables(PAGE)["metric"]} == told


def test_the_readme_leads_to_it() -> None:
    assert f"docs/{PAGE}" in (DOCS.parent / "README.md").read_text()

from __future__ import annotations

from tools.sql_reference import TARGET, reference
from tools.sql_rules.reading import Engine


def test_the_sql_reference_is_current(sql_files: Engine) -> None:
    """Else: `python tools/sql_reference.py`."""
    assert TARGET.read_text() == reference(sql_files)

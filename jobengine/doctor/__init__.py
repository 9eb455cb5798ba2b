"""Looks whether a database, its server and its jobs are well, and names the remedy where not.

`await examine(engine)` returns the findings; the queries are sql/engine/doctor/*.sql, which
psql runs as well. Nothing is written, apart from a notification on a channel of the doctor's own.
"""

from __future__ import annotations

from jobengine.doctor.examination import Examination, examination, examine
from jobengine.doctor.findings import CHECKS, CODES, Finding, Kind, Severity
from jobengine.doctor.patient import Limits

__all__ = [
    "CHECKS",
    "CODES",
    "Examination",
    "Finding",
    "Kind",
    "Limits",
    "Severity",
    "examination",
    "examine",
]

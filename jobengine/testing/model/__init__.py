"""The engine in plain Python: what it promises, without a database and without concurrency.

`Model` answers what the engine would answer, and tells a `Host` what a settle function would be
told, one job at a time. The engine is tested against it (tests/property), so a program may test its
own rules against it as well: in memory, in microseconds.
"""

from jobengine.testing.model.jobs import (
    Between,
    Ended,
    Host,
    Item,
    Job,
    JobType,
    Lease,
    Ready,
    Report,
    Request,
    Settled,
    Time,
)
from jobengine.testing.model.rules import RETRYABLE, Answer, Model

__all__ = [
    "RETRYABLE",
    "Answer",
    "Between",
    "Ended",
    "Host",
    "Item",
    "Job",
    "JobType",
    "Lease",
    "Model",
    "Ready",
    "Report",
    "Request",
    "Settled",
    "Time",
]

"""Calls of ten jobs each, and how much of the tables each may touch, however large these are.

The limits are a third above what was measured on PostgreSQL 15 and 18. Buffers show what rows do
not: index entries that were walked and dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tests.plans.backlog import BIG, ENDED, LEASE, QUEUES, READY, ids, tenant
from tests.plans.explain import Work
from tests.races import calls
from tests.races.sessions import Call


@dataclass(frozen=True)
class Operation:
    """A call, and what it may read of the engine's tables."""

    call: Call
    indexes: frozenset[str]
    rows: int
    buffers: int

    def excess(self, work: Work) -> list[str]:
        """Return what was done beyond the limits."""
        found = [f"reads all of {scan}" for scan in work.whole_tables]
        if work.rows > self.rows:
            most = max(work.scans, key=lambda scan: scan.rows)
            found.append(f"{work.rows:.0f} rows, at most {self.rows}; most by {most}")
        if work.buffers > self.buffers:
            found.append(f"{work.buffers} buffers, at most {self.buffers}")
        if others := work.indexes - self.indexes:
            found.append(f"by {sorted(others)}")
        return found


def operation(call: Call, *indexes: str, rows: int, buffers: int) -> Operation:
    return Operation(call, frozenset(indexes), rows, buffers)


EVEN = range(2, 22, 2)  # jobs of the big tenant
LEASES = [(job_id, 1) for job_id in ids(LEASE, range(1, 11))]
OLD_LEASES = [(job_id, 1) for job_id in ids(ENDED, range(2, 52, 5))]
UNKNOWN = [(job_id, 1) for job_id in ids(ENDED, range(1, 51, 5))]
FAILED = ids(ENDED, range(5, 55, 5))
EVERYWHERE = [*ids(READY, (1, 2, 3)), *ids(LEASE, (1, 2, 3)), *ids(ENDED, (1, 2, 3, 4))]

CLAIM = ("ready_claim", "job_pkey")
REPORT = ("lease_pkey", "ended_pkey", "job_pkey", "live_key_pkey", "failure_pkey")

OPERATIONS = {
    "claim": operation(
        calls.claim(tenant_id=BIG, queues=QUEUES, limit=10), *CLAIM, rows=40, buffers=320
    ),
    "claim of a small tenant": operation(
        calls.claim(tenant_id=tenant(7), queues=QUEUES, limit=10), *CLAIM, rows=40, buffers=320
    ),
    "claim of five tenants": operation(
        calls.claim(tenants=[str(tenant(n)) for n in (1, 3, 5, 7, 9)], queues=QUEUES, limit=10),
        *CLAIM,
        rows=40,
        buffers=320,
    ),
    "claim of ten agents": operation(
        calls.claim_each(10, tenant_id=tenant(7), queues=QUEUES), *CLAIM, rows=120, buffers=900
    ),
    "claim of ten agents that find nothing": operation(
        calls.claim_each(10, tenant_id=BIG, queues=["q2"]), *CLAIM, rows=0, buffers=1000
    ),
    "claim of a queue where nothing is due": operation(
        calls.claim(tenant_id=BIG, queues=["q2"], limit=10), *CLAIM, rows=0, buffers=100
    ),
    # Claimers name their tenants: without names a claim looks for 1,000, and no more.
    "claim of whatever tenant": operation(
        calls.claim(queues=QUEUES, limit=10), *CLAIM, rows=1100, buffers=12000
    ),
    "repeated claim": operation(
        calls.claim(queues=QUEUES, limit=10, agent_id="agent 1", request_id=UUID(int=1)),
        "lease_request",
        *CLAIM,
        rows=30,
        buffers=120,
    ),
    "start": operation(calls.start(*LEASES), "lease_pkey", "job_pkey", rows=40, buffers=140),
    "extend": operation(calls.extend(*LEASES), "lease_pkey", "job_pkey", rows=55, buffers=300),
    "release": operation(calls.release(*LEASES), *REPORT, rows=15, buffers=80),
    "release of old leases": operation(calls.release(*OLD_LEASES), *REPORT, rows=15, buffers=80),
    "finish": operation(calls.finish(*LEASES), *REPORT, rows=55, buffers=80),
    "finish as failed": operation(
        calls.finish(*LEASES, outcome="failed"), *REPORT, rows=15, buffers=80
    ),
    "finish again": operation(calls.finish(*OLD_LEASES), *REPORT, rows=55, buffers=200),
    "finish of unknown jobs": operation(calls.finish(*UNKNOWN), *REPORT, rows=120, buffers=650),
    "cancel": operation(calls.cancel(*EVERYWHERE), "ready_pkey", *REPORT, rows=50, buffers=320),
    "get": operation(calls.get(*EVERYWHERE), "ready_pkey", *REPORT, rows=30, buffers=180),
    "retry": operation(calls.retry(*FAILED), "ready_pkey", *REPORT, rows=130, buffers=300),
    "sweep": operation(
        calls.call("sweep", limit=10),
        "ready_expires_at",
        "lease_expires_at",
        "ended_settle_at",
        *REPORT,
        rows=150,
        buffers=1000,
    ),
    "prune": operation(
        calls.call("prune", keep_seconds=0.0, limit=10),
        *REPORT,
        rows=40,
        buffers=70,
    ),
    "enqueue": operation(calls.enqueue(count=10), rows=0, buffers=110),
    "enqueue of known dedup keys": operation(
        calls.call("enqueue", job_types=["work"] * 10, dedup_keys=[f"dedup {n}" for n in EVEN]),
        "job_dedup_key",
        "live_key_pkey",
        rows=15,
        buffers=110,
    ),
    "enqueue of known live keys": operation(
        calls.call("enqueue", job_types=["work"] * 10, live_keys=[f"live {n}" for n in EVEN]),
        "job_dedup_key",
        "live_key_pkey",
        rows=15,
        buffers=110,
    ),
    "the next tenants": operation(calls.call("_tenants", limit=10), *CLAIM, rows=15, buffers=120),
    "when the next job is due": operation(
        calls.call("_next_due", tenant_ids=[BIG], queues=QUEUES), *CLAIM, rows=15, buffers=130
    ),
}

# A plan from the time when `ready` looked empty may look for an id there by either index: both cost
# the same then. Autovacuum puts that right after a thousand inserts, and these calls are rare.
LOOK_FOR_IDS_IN_READY = {"cancel", "get", "retry"}

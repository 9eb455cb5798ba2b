"""What a claimer asks between claims: which tenants have jobs, and when the next one is due."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.helpers import ANNA, BERT, NO_TENANT, Engine

QUEUES = ["default"]


def tenants(engine: Engine, **arguments: Any) -> list[UUID]:
    return [row["_tenants"] for row in engine.call("_tenants", **arguments)]


def next_due(engine: Engine, tenant_ids: list[UUID] | None, queues: list[str] | None) -> Any:
    [row] = engine.call("_next_due", tenant_ids=tenant_ids, queues=queues)
    return row["_next_due"]


def test_the_tenants_with_waiting_jobs_come_in_order(engine: Engine) -> None:
    assert tenants(engine) == []
    engine.enqueue_many(3, tenant_id=BERT)
    engine.enqueue(tenant_id=ANNA, delay=1000, queue="other")
    engine.enqueue()
    assert tenants(engine) == [NO_TENANT, ANNA, BERT]
    engine.claim(tenant_id=NO_TENANT)
    assert tenants(engine) == [ANNA, BERT]


def test_tenants_come_in_pages(engine: Engine) -> None:
    many = [UUID(int=n) for n in range(1, 6)]
    for tenant_id in many:
        engine.enqueue(tenant_id=tenant_id)
    assert tenants(engine, limit=2) == many[:2]
    assert tenants(engine, limit=2, after=many[1]) == many[2:4]
    assert tenants(engine, limit=2, after=many[3]) == many[4:]
    assert tenants(engine, limit=2, after=many[4]) == []
    assert tenants(engine, limit=0) == []


def test_the_next_scheduled_job_is_due_in_so_many_seconds(engine: Engine) -> None:
    engine.enqueue(delay=20, priority=0)
    engine.enqueue(delay=10.5, priority=9)
    assert next_due(engine, [NO_TENANT], QUEUES) == 10.5
    engine.clock.advance(4)
    assert next_due(engine, [NO_TENANT], QUEUES) == 6.5


@pytest.mark.parametrize("delay", [None, 0])
def test_a_job_that_is_due_is_not_the_next(engine: Engine, delay: float | None) -> None:
    engine.enqueue(delay=delay)
    assert next_due(engine, [NO_TENANT], QUEUES) is None
    engine.enqueue(delay=5)
    assert next_due(engine, [NO_TENANT], QUEUES) == 5


def test_tenant_isolated_only_the_tenants_and_queues_asked_for_count(engine: Engine) -> None:
    engine.enqueue(delay=1, queue="other")
    engine.enqueue(delay=2, tenant_id=BERT)
    engine.enqueue(delay=3, tenant_id=ANNA)
    engine.enqueue(delay=4, tenant_id=ANNA, queue="mail")
    assert next_due(engine, [NO_TENANT], QUEUES) is None
    assert next_due(engine, [ANNA], ["mail"]) == 4
    assert next_due(engine, [ANNA], ["mail", "default"]) == 3
    assert next_due(engine, [ANNA, BERT], ["mail", "default"]) == 2
    assert next_due(engine, [], QUEUES) is None
    assert next_due(engine, None, None) is None

"""What a process knows of the leases that it gave."""

from __future__ import annotations

from uuid import uuid4

from api import handed
from api.handed import Handed
from jobengine import Lease


def test_only_the_holder_of_that_epoch_is_known() -> None:
    job_id, agent_id = uuid4(), uuid4()
    given = Handed()
    given.note(Lease(job_id, 2), agent_id)

    assert given.lease(job_id, 2, agent_id) == Lease(job_id, 2)
    assert given.lease(job_id, 2, uuid4()) is None
    assert given.lease(job_id, 1, agent_id) is None
    assert given.lease(job_id, None, agent_id) is None
    assert given.lease(uuid4(), 2, agent_id) is None


def test_the_oldest_are_forgotten() -> None:
    agent_id = uuid4()
    leases = [Lease(uuid4(), 1) for _ in range(handed.KEPT + 1)]
    given = Handed()
    for lease in leases:
        given.note(lease, agent_id)

    assert given.lease(leases[0].job_id, 1, agent_id) is None
    assert given.lease(leases[1].job_id, 1, agent_id) == leases[1]

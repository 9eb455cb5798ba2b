"""What comes between two steps of the service: its parts in this process, on the real servers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from starlette.requests import Request

from api import agent_jobs, calls, keys, orders, tokens
from api.database import as_user, service_rows
from api.embedded import EmbeddedValkey
from api.endpoint import Call
from api.errors import Problem
from api.keys import AgentKeys
from api.metrics import Metrics
from api.places import Waiter
from api.protocol import Client
from api.service import Service, running
from api.settings import Settings
from jobengine import Job, Lease
from jobengine.records import Held, Started
from tests.api.world import PATIENCE, SECRET, Agent, User, until

Work = Callable[[Service], Awaitable[None]]
Inside = Callable[[Work], None]


@pytest.fixture
def inside(platform_url: str, valkey: EmbeddedValkey) -> Inside:
    """Do the work in a second process's place, which hears what the first announces."""

    async def run(work: Work) -> None:
        settings = Settings(
            database_url=platform_url, redis_url=valkey.url, jwt_secret=SECRET, bcrypt_cost=4
        )
        async with asyncio.timeout(PATIENCE), running(settings, Metrics()) as service:
            await in_thread(until, lambda: service.redis.hearing)
            await work(service)

    return lambda work: asyncio.run(run(work))


async def let_in(service: Service, agent: Agent) -> keys.Agent:
    return await service.keys.agent(agent.agent_id, agent.key, "-")


async def claimed(
    service: Service, agent: Agent, request_id: UUID | None = None, *, begins: bool = False
) -> Job:
    waiter = await asked(service, agent, request_id, begins=begins)
    (job,) = waiter.answer.result()
    return job


async def asked(
    service: Service, agent: Agent, request_id: UUID | None = None, *, begins: bool = False
) -> Waiter:
    """Return a poll that has its answer."""
    holder = await let_in(service, agent)
    waiter = service.longpoll.poll(holder, seconds=0, request_id=request_id, begins=begins)
    await waiter.answer
    return waiter


async def in_thread(work: Callable[..., Any], *values: Any) -> Any:
    return await asyncio.to_thread(work, *values)


def test_a_job_whose_client_left_before_the_answer_waits_again(
    owner: User, agent: Agent, inside: Inside
) -> None:
    job_id = owner.enqueue("trade", agent_id=str(agent.agent_id))

    async def work(service: Service) -> None:
        job = await claimed(service, agent)
        await agent_jobs._hand_over(service, await let_in(service, agent), job, Client(gone=True))

    inside(work)
    assert owner.job(job_id)["status"] == "pending"


@pytest.mark.parametrize(
    "begins,job_type,begun",
    [(True, "get_account", True), (True, "trade", False), (False, "get_account", False)],
)
def test_a_claim_begins_what_may_be_repeated_and_never_an_order(
    owner: User, agent: Agent, inside: Inside, *, begins: bool, job_type: str, begun: bool
) -> None:
    job_id = owner.enqueue(job_type, agent_id=str(agent.agent_id))

    async def work(service: Service) -> None:
        job = await claimed(service, agent, begins=begins)
        assert (job.job_id, job.started_at is not None) == (job_id, begun)

    inside(work)
    assert owner.job(job_id)["status"] == ("running" if begun else "claimed")


def test_a_job_begun_by_its_claim_waits_again_when_its_client_left(
    owner: User, agent: Agent, inside: Inside
) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))

    async def work(service: Service) -> None:
        holder = await let_in(service, agent)
        job = await claimed(service, agent, begins=True)
        answer = await agent_jobs._hand_over(service, holder, job, Client(gone=True))
        assert answer == agent_jobs.NO_JOBS
        await service.longpoll.leave(await asked(service, agent, begins=True))
        await claimed(service, agent)

    inside(work)
    job = owner.job(job_id)
    assert (job["status"], job["lease_epoch"], job["attempt"]) == ("claimed", 3, 1)


def test_a_job_begun_by_its_claim_stays_begun_when_the_client_who_asked_again_left(
    owner: User, agent: Agent, inside: Inside
) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    request_id = uuid4()

    async def work(service: Service) -> None:
        holder = await let_in(service, agent)
        first = await claimed(service, agent, request_id, begins=True)
        again = await claimed(service, agent, request_id, begins=True)
        assert (again.lease_epoch, again.started_at) == (first.lease_epoch, first.started_at)
        await agent_jobs._hand_over(service, holder, again, Client(gone=True))
        await service.longpoll.leave(await asked(service, agent, request_id, begins=True))

    inside(work)
    job = owner.job(job_id)
    assert (job["status"], job["lease_epoch"]) == ("running", 1)


def test_a_begun_order_asked_for_again_stays_begun_when_the_client_leaves(
    owner: User, agent: Agent, inside: Inside
) -> None:
    job_id = owner.enqueue("trade", agent_id=str(agent.agent_id))
    request_id = uuid4()
    begun = agent.next(request_id=str(request_id))

    async def work(service: Service) -> None:
        again = await claimed(service, agent, request_id)
        assert again.lease_epoch == begun["lease_epoch"]
        answer = await agent_jobs._hand_over(
            service, await let_in(service, agent), again, Client(gone=True)
        )
        assert answer == agent_jobs.NO_JOBS

    inside(work)
    job = owner.job(job_id)
    assert (job["status"], job["lease_epoch"]) == ("running", begun["lease_epoch"])


def test_a_begun_job_asked_for_again_stays_begun_when_nobody_waits_for_it(
    owner: User, agent: Agent, inside: Inside
) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    request_id = uuid4()
    begun = agent.next(request_id=str(request_id))

    async def work(service: Service) -> None:
        await service.longpoll.leave(await asked(service, agent, request_id))

    inside(work)
    job = owner.job(job_id)
    assert (job["status"], job["lease_epoch"]) == ("running", begun["lease_epoch"])


def test_who_goes_to_sleep_while_the_sleepers_are_renewed_is_among_them(
    owner: User, agent: Agent, inside: Inside
) -> None:
    asleep = "select from jobengine.waiting where queue = %s"
    blocked = (
        "select from pg_locks where relation = 'jobengine.waiting'::regclass and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
        " having count(*) >= %s"
    )

    async def work(service: Service) -> None:
        places = service.longpoll._places
        other = await let_in(service, await in_thread(owner.pair))
        service.longpoll.poll(other, seconds=30, request_id=None)
        await in_thread(until, lambda: places[other.agent_id].covered)
        holder = await let_in(service, agent)
        with psycopg.connect(agent.service.database_url) as conn:
            conn.execute("lock table jobengine.waiting in exclusive mode")
            service.longpoll.poll(holder, seconds=30, request_id=None)
            await in_thread(until, lambda: bool(agent.service.rows(blocked, 1)))
            renewal = asyncio.create_task(service.longpoll._write_sleepers())
            await in_thread(until, lambda: bool(agent.service.rows(blocked, 2)))
        await renewal
        await in_thread(until, lambda: places[holder.agent_id].covered)
        assert agent.service.rows(asleep, f"agent/{agent.agent_id}")

    inside(work)


def test_revoking_ends_the_waiting_poll_in_every_process(
    owner: User, agent: Agent, inside: Inside
) -> None:
    async def work(service: Service) -> None:
        waiter = service.longpoll.poll(await let_in(service, agent), seconds=30, request_id=None)
        await in_thread(owner.delete, agent.path)
        async with asyncio.timeout(20):  # less than the poll waits
            assert not await waiter.answer
        assert service.longpoll.waiting == 0
        with pytest.raises(Problem, match="agent_key_revoked"):
            await let_in(service, agent)

    inside(work)


def test_after_a_silence_all_polls_show_their_keys_again(
    owner: User, agent: Agent, inside: Inside
) -> None:
    async def work(service: Service) -> None:
        waiters = [
            service.longpoll.poll(await let_in(service, each), seconds=30, request_id=None)
            for each in (agent, await in_thread(owner.pair))
        ]
        service.forget(None)
        assert [waiter.answer.result() for waiter in waiters] == [(), ()]

    inside(work)


@pytest.mark.parametrize("hears", [True, False])
def test_an_agent_revoked_while_it_waited_is_no_longer_let_in(
    agent: Agent, inside: Inside, *, hears: bool
) -> None:
    async def work(service: Service) -> None:
        known = AgentKeys(service.pool, cost=4, failures=10, announced=lambda: hears)
        holder = await known.agent(agent.agent_id, agent.key, "-")
        assert await known.still(holder)
        await in_thread(revoked, agent)
        if hears:
            known.forget(agent.agent_id)
        assert not await known.still(holder)
        known.close()

    inside(work)


def revoked(agent: Agent) -> None:
    """Revoke as somebody whom no process hears of."""
    with psycopg.connect(agent.service.database_url) as conn:
        conn.execute("update mt5_agents set revoked_at = now() where id = %s", (agent.agent_id,))


@pytest.mark.parametrize("first", [True, False])
def test_what_was_read_before_a_revocation_is_not_kept(
    agent: Agent, inside: Inside, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """The revocation comes just before or just after the second of the two questions."""
    asked = calls.agent_queues

    async def work(service: Service) -> None:
        async def overtaken(conn: Any, *, agent_ids: Sequence[UUID]) -> Any:
            monkeypatch.undo()
            found = None if first else await asked(conn, agent_ids=agent_ids)
            await in_thread(revoked, agent)
            service.forget(agent.agent_id)
            return await asked(conn, agent_ids=agent_ids) if found is None else found

        monkeypatch.setattr(calls, "agent_queues", overtaken)
        if first:
            with pytest.raises(Problem, match="agent_key_revoked"):
                await let_in(service, agent)
        else:
            await let_in(service, agent)
        with pytest.raises(Problem, match="agent_key_revoked"):
            await let_in(service, agent)

    inside(work)


def test_a_claim_that_fails_by_a_mistake_fails_its_polls_and_no_others(
    owner: User, agent: Agent, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))

    async def fails(*_: Any, **__: Any) -> list[Job]:
        monkeypatch.undo()
        raise RuntimeError("a mistake")

    async def work(service: Service) -> None:
        holder = await let_in(service, agent)
        monkeypatch.setattr(calls, "agent_claim", fails)
        with pytest.raises(RuntimeError, match="a mistake"):
            await service.longpoll.poll(holder, seconds=30, request_id=None).answer
        assert (await claimed(service, agent)).job_id == job_id

    inside(work)


def test_what_is_asked_for_the_first_time_needs_no_claim_where_nothing_was_announced(
    owner: User, agent: Agent, inside: Inside
) -> None:
    async def work(service: Service) -> None:
        holder = await let_in(service, agent)

        def ask(request_id: UUID, *, first: bool) -> Waiter:
            return service.longpoll.poll(
                holder, seconds=30, request_id=request_id, first=first, most=2
            )

        waiter = ask(uuid4(), first=True)
        place = service.longpoll._places[agent.agent_id]
        await in_thread(until, lambda: place.covered and place.quiet and not waiter.asking)
        job_id = await in_thread(lambda: owner.enqueue(agent_id=str(agent.agent_id)))
        (job,) = await waiter.answer
        assert job.job_id == job_id
        again = uuid4()
        for request_id, first, claims in [
            (again, True, False),
            (again, True, True),  # it was asked with before, whatever the agent says
            (uuid4(), False, True),
        ]:
            service.longpoll._due.clear()
            waiter = ask(request_id, first=first)
            assert (agent.agent_id in service.longpoll._due) is claims
        job_id = await in_thread(lambda: owner.enqueue(agent_id=str(agent.agent_id)))
        (job,) = await waiter.answer
        assert job.job_id == job_id

    inside(work)


def test_two_polls_of_one_key_do_not_chase_each_other(
    owner: User, agent: Agent, inside: Inside
) -> None:
    async def work(service: Service) -> None:
        holder = await let_in(service, agent)
        older, newer = (
            service.longpoll.poll(holder, seconds=30, request_id=None) for _ in range(2)
        )
        assert not older.answer.done()
        job_id = await in_thread(lambda: owner.enqueue(agent_id=str(agent.agent_id)))
        (found,) = await newer.answer
        assert found.job_id == job_id
        assert not await older.answer

    inside(work)


def test_an_older_poll_gets_no_job(
    owner: User, agent: Agent, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client may be gone, as of a connection that broke, while the job is being claimed."""
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    claim = calls.agent_claim

    async def work(service: Service) -> None:
        holder = await let_in(service, agent)
        newer = []

        async def overtaken(conn: Any, *, requests: str) -> list[Job]:
            monkeypatch.undo()
            newer.append(service.longpoll.poll(holder, seconds=30, request_id=None))
            return await claim(conn, requests=requests)

        monkeypatch.setattr(calls, "agent_claim", overtaken)
        assert not await service.longpoll.poll(holder, seconds=30, request_id=None).answer
        (found,) = await newer[0].answer
        assert found.job_id == job_id

    inside(work)


def test_a_users_statement_has_eight_seconds_and_the_connection_goes_back_as_it_was(
    owner: User, inside: Inside
) -> None:
    async def work(service: Service) -> None:
        claims = {"sub": str(owner.user_id), "role": "authenticated"}
        async with as_user(service.pool, claims) as conn:
            row = await (await conn.execute("show statement_timeout")).fetchone()
            assert row == ("8s",)
            pid = conn.info.backend_pid
        # The pool hands out the connection that came back last or first: look until it is this one.
        while True:
            async with service.pool.connection() as conn:
                if conn.info.backend_pid == pid:
                    row = await (await conn.execute("show statement_timeout")).fetchone()
                    assert row == ("0",)
                    return

    inside(work)


def test_a_call_in_one_round_trip_is_the_services_own_and_leaves_the_connection_as_it_was(
    inside: Inside,
) -> None:
    """Its role and its transaction end with it, also where it is refused."""

    async def work(service: Service) -> None:
        async with service.pool.connection() as conn:
            before = await who(conn)
            (found,) = await service_rows(conn, Who, "select current_user::text, 1", {})
            assert found == Who("service_role", 1)
            with pytest.raises(psycopg.Error) as refusal:
                await calls.agent_claim(conn, requests="{}")
            assert refusal.value.sqlstate == "JE002"
            assert await who(conn) == before
            assert conn.info.transaction_status == TransactionStatus.IDLE

    inside(work)


def test_an_order_that_was_put_in_is_named_where_it_cannot_be_read(
    owner: User, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told of an outage then knows what to ask for after it."""
    order_id = uuid4()

    async def away(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    async def work(service: Service) -> None:
        claims = {"sub": str(owner.user_id), "role": "authenticated"}
        user = tokens.User(owner.user_id, claims, expires=math.inf)
        call = Call(Request({"type": "http"}), service, {}, {}, None, None, user, None)
        monkeypatch.setattr(calls, "order_get", away)
        with pytest.raises(Problem, match="database_unavailable") as refusal:
            await orders._order(call, order_id)
        assert refusal.value.more == {"order_id": order_id}

    inside(work)


@dataclass(frozen=True, slots=True)
class Who:
    role: str
    number: int


async def who(conn: Any) -> Any:
    return await (await conn.execute("select current_user")).fetchone()


def test_starts_that_come_together_share_a_statement_and_have_their_own_verdicts(
    owner: User, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [owner.pair() for _ in range(4)]
    for agent in agents:
        owner.enqueue("trade", agent_id=str(agent.agent_id))
    sizes: list[int] = []
    begin = calls.agent_start

    async def noting(*args: Any, **more: Any) -> list[Started]:
        sizes.append(len(more["leases"]))
        return await begin(*args, **more)

    monkeypatch.setattr(calls, "agent_start", noting)

    async def work(service: Service) -> None:
        jobs = [await claimed(service, agent) for agent in agents]
        asked: list[tuple[UUID, Held]] = [
            (agent.agent_id, job) for agent, job in zip(agents, jobs, strict=True)
        ]
        never = (agents[0].agent_id, Lease(uuid4(), 1))
        answers = await asyncio.gather(
            *(service.starts.begin(*one) for one in [*asked, asked[1], never])
        )
        assert [a.verdict for a in answers] == ["ok"] * 4 + ["duplicate", "not_found"]
        assert [a.job_id for a in answers[:5]] == [*(j.job_id for j in jobs), jobs[1].job_id]

    inside(work)
    assert sizes == [1, 5]
    sent = owner.service.rows(
        "select agent_id from public.trade_events where event = 'sent' and agent_id = any (%s)",
        [agent.agent_id for agent in agents],
    )
    assert {row["agent_id"] for row in sent} == {agent.agent_id for agent in agents}
    assert len(sent) == len(agents)


def test_a_start_whose_caller_leaves_does_not_end_those_beside_it(
    owner: User, inside: Inside
) -> None:
    agents = [owner.pair() for _ in range(3)]
    for agent in agents:
        owner.enqueue(agent_id=str(agent.agent_id))

    async def work(service: Service) -> None:
        jobs = [await claimed(service, agent) for agent in agents]
        begun = [
            asyncio.create_task(service.starts.begin(agent.agent_id, job))
            for agent, job in zip(agents, jobs, strict=True)
        ]
        await asyncio.sleep(0)
        begun[1].cancel()
        first, second, third = await asyncio.gather(*begun, return_exceptions=True)
        assert isinstance(second, asyncio.CancelledError)
        assert isinstance(first, Started)
        assert isinstance(third, Started)
        assert (first.verdict, third.verdict) == ("ok", "ok")

    inside(work)


def test_a_start_that_waits_for_a_lock_does_not_hold_up_those_beside_it(
    owner: User, inside: Inside, platform_url: str
) -> None:
    agents = [owner.pair() for _ in range(4)]
    for agent in agents:
        owner.enqueue(agent_id=str(agent.agent_id))

    async def work(service: Service) -> None:
        jobs = [await claimed(service, agent) for agent in agents]
        async with await psycopg.AsyncConnection.connect(platform_url) as holder:
            await holder.execute(
                "select from jobengine.lease where job_id = %s for update", [jobs[1].job_id]
            )
            begun = [
                asyncio.create_task(service.starts.begin(agent.agent_id, job))
                for agent, job in zip(agents, jobs, strict=True)
            ]
            free = await asyncio.gather(begun[0], begun[2], begun[3])
            assert [one.verdict for one in free] == ["ok"] * 3
            assert not begun[1].done()
            await holder.rollback()
        assert (await begun[1]).verdict == "ok"

    inside(work)


def test_a_call_of_the_services_own_leaves_its_role_behind(inside: Inside) -> None:
    async def work(service: Service) -> None:
        async with service.pool.connection() as conn:
            before = await (await conn.execute("select current_user")).fetchone()
            for brief in (False, True):
                asked = "select current_user::text, 1"
                (found,) = await service_rows(conn, Who, asked, {}, brief=brief)
                assert found == Who("service_role", 1)
            limits = "select current_user, current_setting('lock_timeout')"
            assert await (await conn.execute(limits)).fetchone() == (*(before or ()), "0")

    inside(work)

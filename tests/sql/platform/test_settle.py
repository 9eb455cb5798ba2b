"""Every end of every type, as its parents see it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    claim,
    finish,
    new_deployment,
    new_job,
    new_signal,
    new_version,
    one,
    row,
    work,
)

FILL = {"fill_price": 1.10345, "broker_order_id": "77", "volume": 0.001}
DEAL = {"deal_id": "9", "commission": 0}


def version(db: Db, version_id: UUID) -> tuple[str, str | None]:
    found = row(
        db, "select status, compilation_error from public.ea_versions where id = %s", version_id
    )
    return found["status"], found["compilation_error"]


def deployment(db: Db, deployment_id: UUID) -> tuple[str, str | None]:
    found = row(
        db, "select status, error_message from public.ea_deployments where id = %s", deployment_id
    )
    return found["status"], found["error_message"]


def signal(db: Db, signal_id: UUID) -> tuple[str, str | None, bool]:
    found = row(
        db,
        "select status, error_message, resolved_at is not null as resolved"
        " from public.tv_signals where id = %s",
        signal_id,
    )
    return found["status"], found["error_message"], found["resolved"]


TAKEN = ("requested", "claimed", "sent")


def events(db: Db, job_id: UUID) -> list[str]:
    found = db.execute(
        "select event from public.trade_events where job_id = %s order by id", (job_id,)
    )
    return [event["event"] for event in found.fetchall()]


def settle_error(db: Db, job_id: UUID) -> str | None:
    found = row(db, "select settle_error from jobengine.ended where job_id = %s", job_id)
    error: str | None = found["settle_error"]
    return error


def compiling(db: Db, user: User) -> UUID:
    version_id = new_version(db, user.id)
    new_job(
        db,
        user.id,
        "compile",
        agent_id=user.agent,
        parent_type="ea_version",
        parent_id=version_id,
    )
    assert version(db, version_id) == ("compiling", None)
    return version_id


def signalled(db: Db, user: User, job_type: str = "trade") -> tuple[UUID, UUID]:
    signal_id = new_signal(db, user.id)
    job_id = new_job(
        db,
        user.id,
        job_type,
        input={"symbol": "EURUSD", "source": "tv_signal", "signal_id": str(signal_id)},
        agent_id=user.agent,
        parent_type="tv_signal",
        parent_id=signal_id,
    )
    return signal_id, job_id


def retry(db: Db, job_id: UUID) -> str:
    verdict: str = row(db, "select verdict from jobengine.retry(array[%s::uuid])", job_id)[
        "verdict"
    ]
    return verdict


def cancel(db: Db, user: User, job_id: UUID, reason: str | None = None) -> None:
    assert one(db, "job_cancel", user=user.id, job_id=job_id, reason=reason)["verdict"] == "ok"


# -- compile


def test_a_compilation_that_succeeds_stores_the_artifact(pdb: Db, anna: User) -> None:
    version_id = compiling(pdb, anna)
    output = {
        "artifact_path": "a/b.ex5",
        "log_path": "a/b.log",
        "warnings": 2,
        "sha256": "ab" * 32,
        "size_bytes": 1000,
    }
    work(pdb, anna.agent, "completed", output)
    assert version(pdb, version_id) == ("compiled", None)
    stored = pdb.execute(
        "select user_id, kind, storage_path, sha256, size_bytes from public.ea_artifacts"
        " where version_id = %s order by kind",
        (version_id,),
    ).fetchall()
    assert [tuple(artifact.values()) for artifact in stored] == [
        (anna.id, "ex5", "a/b.ex5", bytes.fromhex("ab" * 32), 1000),
        (anna.id, "log", "a/b.log", None, None),
    ]
    compiled = row(
        pdb, "select warnings, compiled_at from public.ea_versions where id = %s", version_id
    )
    assert compiled["warnings"] == 2
    assert compiled["compiled_at"] is not None


@pytest.mark.parametrize(
    "output, error, told",
    [
        ({"compilation_error": "line 3: ';' expected"}, "failed", "line 3: ';' expected"),
        (None, "MetaEditor is missing", "MetaEditor is missing"),
    ],
)
def test_a_compilation_that_fails_says_why(
    pdb: Db, anna: User, output: dict[str, str] | None, error: str, told: str
) -> None:
    version_id = compiling(pdb, anna)
    work(pdb, anna.agent, "rejected", output, error)
    assert version(pdb, version_id) == ("failed", told)


def test_a_cancelled_compilation_is_failed_and_its_retry_compiles(pdb: Db, anna: User) -> None:
    version_id = compiling(pdb, anna)
    job_id = row(pdb, "select last_job_id from public.ea_versions where id = %s", version_id)[
        "last_job_id"
    ]
    cancel(pdb, anna, job_id, "enough")
    assert version(pdb, version_id) == ("failed", "enough")
    assert retry(pdb, job_id) == "ok"
    assert version(pdb, version_id) == ("compiling", None)
    work(pdb, anna.agent, "completed", {"artifact_path": "x.ex5"})
    assert version(pdb, version_id) == ("compiled", None)


def test_an_expired_compilation_is_failed(pdb: Db, anna: User, still: Clock) -> None:
    version_id = new_version(pdb, anna.id)
    new_job(
        pdb,
        anna.id,
        "compile",
        agent_id=anna.agent,
        expires_in=5,
        parent_type="ea_version",
        parent_id=version_id,
    )
    still.advance(10)
    pdb.execute("select jobengine.sweep()")
    assert version(pdb, version_id) == ("failed", "expired")


def test_an_older_compilation_does_not_overtake_a_newer_one(pdb: Db, anna: User) -> None:
    version_id = compiling(pdb, anna)
    older = claim(pdb, anna.agent)
    assert older is not None
    new_job(
        pdb,
        anna.id,
        "compile",
        agent_id=anna.agent,
        parent_type="ea_version",
        parent_id=version_id,
    )
    work(pdb, anna.agent, "completed", {"artifact_path": "new.ex5"})
    assert finish(pdb, older, "rejected", None, "too late") == "ok"
    assert version(pdb, version_id) == ("compiled", None)


def test_a_version_that_is_gone_is_told_once(pdb: Db, anna: User) -> None:
    version_id = compiling(pdb, anna)
    pdb.execute("delete from public.ea_versions where id = %s", (version_id,))
    job = claim(pdb, anna.agent)
    assert job is not None
    assert finish(pdb, job, "completed") == "settle_failed"
    assert settle_error(pdb, job["id"]) == "parent_gone"
    assert row(pdb, "select settle_at from jobengine.ended where job_id = %s", job["id"]) == {
        "settle_at": None
    }


def test_a_batch_settles_what_it_can(pdb: Db, anna: User) -> None:
    """One of three parents is gone: the two others are settled in the same call."""
    versions = [compiling(pdb, anna) for _ in range(3)]
    pdb.execute("delete from public.ea_versions where id = %s", (versions[1],))
    jobs = [claim(pdb, anna.agent) for _ in range(3)]
    verdicts = pdb.execute(
        "select verdict from jobengine.finish(%s::uuid[], %s::integer[],"
        " array['completed', 'completed', 'completed']) order by item",
        ([job["id"] for job in jobs if job], [job["lease_epoch"] for job in jobs if job]),
    ).fetchall()
    assert [found["verdict"] for found in verdicts] == ["ok", "settle_failed", "ok"]
    assert version(pdb, versions[0]) == version(pdb, versions[2]) == ("compiled", None)


def test_a_strangers_version_is_no_parent(pdb: Db, anna: User, bert: User) -> None:
    """A job that was put in past job_create cannot reach into another tenant."""
    version_id = new_version(pdb, bert.id)
    pdb.execute(
        "select jobengine.enqueue(array['compile'], p_tenant_ids => array[%s::uuid],"
        " p_queues => array['any'], p_metas => array[jsonb_build_object('parent_id', %s::text)])",
        (anna.id, str(version_id)),
    )
    job = claim(pdb, anna.agent)
    assert job is not None
    assert finish(pdb, job, "completed") == "settle_failed"
    assert settle_error(pdb, job["id"]) == "parent_gone"
    assert version(pdb, version_id) == ("draft", None)


# -- deploy, run, stop


@pytest.mark.parametrize(
    "job_type, meanwhile, done, at",
    [
        ("deploy", "deploying", "deployed", "deployed_at"),
        ("run", "pending", "running", "started_at"),
        ("stop", "stopping", "stopped", "stopped_at"),
    ],
)
def test_a_deployment_follows_its_jobs(  # noqa: PLR0917 - the columns of a table
    pdb: Db, anna: User, job_type: str, meanwhile: str, done: str, at: str
) -> None:
    deployment_id = new_deployment(pdb, anna.id)
    parent = {"parent_type": "ea_deployment", "parent_id": deployment_id}
    new_job(pdb, anna.id, job_type, agent_id=anna.agent, **parent)
    assert deployment(pdb, deployment_id) == (meanwhile, None)
    work(pdb, anna.agent, "completed")
    assert deployment(pdb, deployment_id) == (done, None)
    found = row(pdb, "select * from public.ea_deployments where id = %s", deployment_id)
    times = ("deployed_at", "started_at", "stopped_at")
    assert [name for name in times if found[name] is not None] == [at]

    job_id = new_job(pdb, anna.id, job_type, agent_id=anna.agent, **parent)
    work(pdb, anna.agent, "rejected", None, "no chart")
    assert deployment(pdb, deployment_id) == ("failed", "no chart")
    assert retry(pdb, job_id) == "ok"
    assert deployment(pdb, deployment_id)[0] == (meanwhile if job_type != "run" else "failed")
    cancel(pdb, anna, job_id)
    assert deployment(pdb, deployment_id) == ("failed", "cancelled")


def test_the_newest_job_of_a_deployment_counts_whatever_its_type(pdb: Db, anna: User) -> None:
    deployment_id = new_deployment(pdb, anna.id)
    parent = {"parent_type": "ea_deployment", "parent_id": deployment_id}
    new_job(pdb, anna.id, "run", agent_id=anna.agent, **parent)
    run = claim(pdb, anna.agent)
    assert run is not None
    new_job(pdb, anna.id, "stop", agent_id=anna.agent, **parent)
    work(pdb, anna.agent, "completed")
    assert finish(pdb, run, "completed") == "ok"
    assert deployment(pdb, deployment_id) == ("stopped", None)


def test_a_deployment_that_is_gone_is_told(pdb: Db, anna: User) -> None:
    deployment_id = new_deployment(pdb, anna.id)
    new_job(
        pdb,
        anna.id,
        "stop",
        agent_id=anna.agent,
        parent_type="ea_deployment",
        parent_id=deployment_id,
    )
    pdb.execute("delete from public.ea_deployments where id = %s", (deployment_id,))
    job = claim(pdb, anna.agent)
    assert job is not None
    assert finish(pdb, job, "completed") == "settle_failed"
    assert settle_error(pdb, job["id"]) == "parent_gone"


# -- trade


def test_a_filled_signal_is_executed(pdb: Db, anna: User) -> None:
    signal_id, job_id = signalled(pdb, anna)
    work(pdb, anna.agent, "completed", {**FILL, **DEAL})
    assert signal(pdb, signal_id) == ("executed", None, True)
    found = row(pdb, "select * from public.tv_signals where id = %s", signal_id)
    assert (found["fill_price"], found["broker_order_id"]) == (Decimal("1.10345000"), "77")
    assert found["job_id"] == job_id
    assert events(pdb, job_id) == [*TAKEN, "filled"]
    fill = row(
        pdb,
        "select e.*, s.strategy_id as of_signal from public.trade_events e"
        " join public.tv_signals s on s.id = e.signal_id where e.job_id = %s and event = 'filled'",
        job_id,
    )
    assert (fill["user_id"], fill["agent_id"], fill["broker_connection_id"]) == (
        *(anna.id, anna.agent, anna.account),
    )
    assert (fill["volume"], fill["price"], fill["deal_id"]) == (
        *(Decimal("0.00100000"), Decimal("1.10345000"), "9"),
    )
    assert fill["strategy_id"] == fill["of_signal"]


@pytest.mark.parametrize(
    "outcome, error, seen, event",
    [
        ("rejected", "market closed", ("failed", "market closed", True), "rejected"),
        ("failed", None, ("failed", "failed", True), "rejected"),
        ("cancelled", None, ("discarded", "cancelled", True), "cancelled"),
        ("unknown", None, ("pending", "outcome_unknown", False), "unknown"),
    ],
)
def test_the_other_ends_of_a_signal(  # noqa: PLR0917 - the columns of a table
    pdb: Db,
    anna: User,
    outcome: str,
    error: str | None,
    seen: tuple[str, str, bool],
    event: str,
) -> None:
    signal_id, job_id = signalled(pdb, anna)
    work(pdb, anna.agent, outcome, None, error)
    assert signal(pdb, signal_id) == seen
    assert events(pdb, job_id) == [*TAKEN, event]


def test_an_expired_signal_is_discarded(pdb: Db, anna: User, still: Clock) -> None:
    signal_id, job_id = signalled(pdb, anna)
    still.advance(299)
    pdb.execute("select jobengine.sweep()")
    assert signal(pdb, signal_id) == ("pending", None, False)
    still.advance(2)
    assert claim(pdb, anna.agent) is None
    pdb.execute("select jobengine.sweep()")
    assert signal(pdb, signal_id) == ("discarded", "expired", True)
    assert events(pdb, job_id) == ["requested", "expired"]


@pytest.mark.parametrize(
    "outcome, seen, event",
    [
        ("completed", ("executed", None, True), "filled"),
        ("rejected", ("failed", "not sent", True), "rejected"),
    ],
)
def test_an_unknown_signal_is_resolved_late(  # noqa: PLR0917 - the columns of a table
    pdb: Db,
    anna: User,
    still: Clock,
    outcome: str,
    seen: tuple[str, str | None, bool],
    event: str,
) -> None:
    signal_id, job_id = signalled(pdb, anna)
    job = claim(pdb, anna.agent)
    assert job is not None
    still.advance(31)
    pdb.execute("select jobengine.sweep()")
    assert signal(pdb, signal_id) == ("pending", "outcome_unknown", False)
    error = "not sent" if outcome == "rejected" else None
    assert finish(pdb, job, outcome, FILL, error) == "ok"
    assert signal(pdb, signal_id) == seen
    assert events(pdb, job_id) == [*TAKEN, "unknown", "reconciled", event]
    assert finish(pdb, job, outcome, FILL, error) == "duplicate"
    assert events(pdb, job_id) == [*TAKEN, "unknown", "reconciled", event]


def test_a_failed_signal_that_is_retried_waits_again(pdb: Db, anna: User) -> None:
    signal_id, job_id = signalled(pdb, anna)
    work(pdb, anna.agent, "rejected", None, "requote")
    assert retry(pdb, job_id) == "ok"
    assert signal(pdb, signal_id) == ("pending", None, False)
    work(pdb, anna.agent, "completed", FILL)
    assert signal(pdb, signal_id) == ("executed", None, True)
    assert events(pdb, job_id) == [*TAKEN, "rejected", *TAKEN, "filled"]


def test_a_manual_order_has_events_and_no_signal(pdb: Db, anna: User) -> None:
    job_id = new_job(pdb, anna.id, "trade", input={"symbol": "EURUSD", "side": "buy"})
    work(pdb, anna.agent, "completed", {"ticket": 5, "retcode": 10010})
    assert events(pdb, job_id) == [*TAKEN, "partially_filled"]


def test_the_fill_of_a_deleted_signal_is_on_record(pdb: Db, anna: User) -> None:
    signal_id, job_id = signalled(pdb, anna)
    job = claim(pdb, anna.agent)
    assert job is not None
    pdb.execute("delete from public.tv_strategies where user_id = %s", (anna.id,))
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert events(pdb, job_id) == [*TAKEN, "filled"]
    fill = row(
        pdb,
        "select signal_id from public.trade_events where job_id = %s and event = 'filled'",
        job_id,
    )
    assert fill["signal_id"] == signal_id


def test_an_answer_of_any_shape_is_settled(pdb: Db, anna: User) -> None:
    """What an agent sends is not ours to trust: it must not keep an end from being settled."""
    outputs: tuple[Any, ...] = (
        *([], "text", 5, {"fill_price": "1.5"}, {"fill_price": {"a": 1}, "retcode": "x"}),
        {"fill_price": 1e300, "volume": "NaN", "pnl": True, "retcode": 1e10, "deal_id": [1]},
    )
    for output in outputs:
        signal_id, job_id = signalled(pdb, anna)
        work(pdb, anna.agent, "completed", output)
        assert signal(pdb, signal_id)[0] == "executed"
        assert settle_error(pdb, job_id) is None


def test_a_strangers_signal_is_not_touched(pdb: Db, anna: User, bert: User) -> None:
    signal_id = new_signal(pdb, bert.id)
    new_job(
        pdb,
        anna.id,
        "trade",
        agent_id=anna.agent,
        input={"source": "tv_signal", "signal_id": str(signal_id)},
    )
    work(pdb, anna.agent, "completed", FILL)
    assert signal(pdb, signal_id) == ("pending", None, False)


# -- close_position


@pytest.mark.parametrize(
    "outcome, event",
    [
        ("completed", "closed"),
        ("rejected", "rejected"),
        ("cancelled", "cancelled"),
        ("unknown", "unknown"),
    ],
)
def test_closing_leaves_an_event(pdb: Db, anna: User, outcome: str, event: str) -> None:
    job_id = new_job(pdb, anna.id, "close_position", input={"ticket": "12"}, agent_id=anna.agent)
    work(pdb, anna.agent, outcome, {"closed_price": 1.2, "pnl": -3.456})
    assert events(pdb, job_id) == [*TAKEN, event]
    found = row(
        pdb,
        "select position_id, price, realized_pnl from public.trade_events"
        " where job_id = %s order by id desc limit 1",
        job_id,
    )
    realized = Decimal("-3.46") if event == "closed" else None
    assert tuple(found.values()) == ("12", Decimal("1.20000000"), realized)


def test_events_only_grow(pdb: Db, anna: User) -> None:
    new_job(pdb, anna.id, "trade")
    for statement in (
        "update public.trade_events set actor = 'me'",
        "delete from public.trade_events",
        "truncate public.trade_events",
        "delete from public.audit_log",
    ):
        with pytest.raises(psycopg.Error) as refusal:
            pdb.execute(statement.encode())
        assert refusal.value.sqlstate == "FX409"


def test_a_deal_is_told_once(pdb: Db, anna: User) -> None:
    deal = str(uuid4())
    jobs = [new_job(pdb, anna.id, "trade", agent_id=anna.agent) for _ in range(2)]
    for _ in jobs:
        work(pdb, anna.agent, "completed", {**DEAL, "deal_id": deal})
    assert row(pdb, "select count(*) from public.trade_events where deal_id = %s", deal) == {
        "count": 1
    }


@pytest.mark.parametrize("none", ["0", ""])
def test_orders_without_a_deal_each_have_their_event(pdb: Db, anna: User, none: str) -> None:
    jobs = [new_job(pdb, anna.id, "trade", agent_id=anna.agent) for _ in range(2)]
    for _ in jobs:
        work(pdb, anna.agent, "completed", {**DEAL, "deal_id": none})
    found = row(
        pdb,
        "select count(*) from public.trade_events"
        " where event = 'filled' and deal_id is null and user_id = %s",
        anna.id,
    )
    assert found == {"count": 2}


def test_reads_have_no_parent(pdb: Db, anna: User) -> None:
    for job_type in ("get_positions", "get_account", "get_candles"):
        job_id = new_job(pdb, anna.id, job_type, agent_id=anna.agent)
        work(pdb, anna.agent, "completed", {"balance": 5})
        assert call(pdb, "job_get", user=anna.id, job_id=job_id)[0]["output_data"] == {"balance": 5}

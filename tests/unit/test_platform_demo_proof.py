"""The proofs of `python -m api demo` hold for a run that was right, and fail for what was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from forex_agent.simulated import BookState, Held, RandomWalk
from forex_agent.terminal import Deal

from api import models
from api.demo.alerts import Alert, Posted, Target
from api.demo.evidence import Account, Event, Evidence, Job
from api.demo.orders import Order, Placed
from api.demo.plan import JOB_TYPES
from api.demo.proof import PROOFS, prove
from api.demo.proofs.jobs import BEGUN, PARENT_STATE, ROUTES, SETTLED
from api.demo.report import print_result, summary
from api.demo.watch import Tick, Watcher, together
from api.demo.world import Agent, User

DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "fxa_a-key-that-nobody-may-read"
PARENTS = {"compile": "ea_version", **dict.fromkeys(("deploy", "run", "stop"), "ea_deployment")}
TYPES, ENDED, APART, SETTLES, EXPECTED, KEYS, ONCE, KNOWN = list(PROOFS)[:8]
TRADED, STRANGERS, PRICED = list(PROOFS)[8:11]
STOPS, POSITIONS, PNL, KILLED, SAME, OWN, CACHED, SECRETS = list(PROOFS)[11:]


def agent_named(name: str, user_id: UUID, seed: int) -> Agent:
    return Agent(
        name=name,
        agent_id=uuid4(),
        user_id=user_id,
        broker_connection_id=uuid4(),
        symbols=("EURUSD",),
        state=Path("nowhere"),
        seed=seed,
    )


ANNA, BERT = uuid4(), uuid4()
HERS, HIS = agent_named("anna-1", ANNA, 1), agent_named("bert-1", BERT, 2)


def a_job(agent: Agent, job_type: str, **fields: Any) -> Job:
    """A job that was completed."""
    parent = PARENTS.get(job_type)
    known: dict[str, Any] = {
        **dict.fromkeys(Job.__dataclass_fields__),
        "job_id": uuid4(),
        "user_id": agent.user_id,
        "job_type": job_type,
        "status": "completed",
        "queue": f"agent/{agent.agent_id}",
        "agent_id": agent.agent_id,
        "lease_epoch": 1,
        "output_data": {},
        "parent_type": parent,
        **{f"{step}_at": 1.0 + n for n, step in enumerate(("created", "claimed", "started"))},
        "finished_at": 4.0,
        "settled_status": "completed" if job_type in SETTLED else None,
        "parent_state": PARENT_STATE[job_type] if parent else None,
        "events": [],
    }
    return Job(**{**known, **fields})


class Story:
    """Writes down what a right run leaves behind."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.placed: list[Placed] = []
        self.posted: list[Posted] = []
        self.signals: list[models.Signal] = []
        self.deals: dict[UUID, list[Deal]] = {HERS.agent_id: [], HIS.agent_id: []}

    def order(self, agent: Agent, job_type: str, status: str, requests: int = 1) -> Job:
        """An order that is filled, with its deal, or one that came to nothing."""
        filled = status in {"filled", "closed"}
        lasts = BEGUN if status != "expired" else BEGUN[:1]
        ended = {"filled": "completed", "closed": "completed", "rejected": "failed"}
        job = a_job(
            agent,
            job_type,
            status=ended.get(status, status),
            settled_status=ended.get(status, status),
            order_status=status,
            events=[*lasts, status],
            deal_id=str(len(self.deals[agent.agent_id]) + 1) if filled else None,
            fill_price=1.1 if filled else None,
            filled_volume=0.1 if filled else None,
        )
        self.jobs.append(job)
        if filled:
            self.deal(agent, job.comment, "in" if status == "filled" else "out", "expert")
        self.placed.append(a_placed(agent, job, status, requests))
        return job

    def alert(self, agent: Agent, expected: str | None) -> models.Signal | None:
        """An alert, and its signal if it has one."""
        self.posted.append(a_posted(agent, str(len(self.posted)), expected))
        if expected is None:
            return None
        traded = expected == "executed"
        signal = a_signal(
            raw_payload=self.posted[-1].alert.payload,
            status="executed" if traded else "discarded",
            fill_price=Decimal("1.1") if traded else None,
            error_message=None if traded else expected,
            reason=None if traded else "The words.",
        )
        self.signals.append(signal)
        return signal

    def traded_alert(self, agent: Agent) -> None:
        """An alert that became an order, with its deal."""
        signal = self.alert(agent, "executed")
        assert signal
        self.order(agent, "trade", "filled")
        self.placed.pop()  # nobody placed it
        parent: Any = {
            "parent_type": "tv_signal",
            "parent_id": signal.id,
            "parent_state": "executed",
        }
        self.jobs[-1] = replace(self.jobs[-1], **parent)

    def deal(self, agent: Agent, comment: str, entry: Any, reason: Any) -> None:
        deals = self.deals[agent.agent_id]
        deals.append(
            Deal(
                deal_id=str(len(deals) + 1),
                order_id="1",
                position_id="1",
                symbol="EURUSD",
                side="buy",
                entry=entry,
                volume=Decimal("0.1"),
                price=Decimal("1.1"),
                profit=Decimal(-1),
                commission=Decimal("-0.35"),
                swap=Decimal(0),
                magic=0,
                comment=comment,
                reason=reason,
                time=DAY,
            )
        )

    def account(self, agent: Agent) -> Account:
        deals = self.deals[agent.agent_id]
        book = BookState(
            currency="USD",
            leverage=100,
            initial=Decimal(10_000),
            balance=Decimal(9_990),
            positions=[a_position()],
            deals=deals,
        )
        told = {"ticket": "1", "symbol": "EURUSD", "side": "buy", "volume": 0.1}
        return Account(
            agent=agent,
            book=book,
            deals={
                deal.deal_id: ("filled" if deal.entry == "in" else "closed", deal.reason)
                for deal in deals
            },
            pnl={"2026-11-20": Decimal("-1.35") * len(deals)},
            positions=[told],
            balance={"balance": 9990.0},
        )


def a_posted(agent: Agent, name: str, expected: str | None) -> Posted:
    to: Target = "nobody" if expected is None else "strategy"
    body = json.dumps({"id": name})
    alert = Alert(agent=agent, words=f"alert {name}", body=body, to=to, expected=expected)
    return Posted(alert=alert, sent_at=0.6, answered_at=0.7, answer=(200, "ok"))


def a_signal(**fields: Any) -> models.Signal:
    known = {**dict.fromkeys(models.Signal.model_fields), "id": uuid4(), "decided_ms": 4}
    return models.Signal(**{**known, "created_at": DAY, "received_at": DAY, **fields})


def a_position() -> Held:
    money: Any = Decimal("0.10")
    return Held(
        ticket=1,
        symbol="EURUSD",
        side="buy",
        volume=money,
        open_price=110_000,
        sl=None,
        tp=None,
        margin_per_lot=money,
        swap=Decimal(0),
        magic=0,
        comment="",
        opened=0,
        checked=0,
    )


def a_placed(agent: Agent, job: Job, status: str, requests: int) -> Placed:
    order = Order(
        agent=agent,
        key=str(job.job_id),
        expected=(status,),
        body={"side": "buy", "volume": 0.1, "symbol": "EURUSD"},
        requests=requests,
    )
    return Placed(
        order=order,
        asked_at=0.9,
        answered_at=4.1,
        tries=requests,
        order_ids=[job.job_id] * requests,
        replayed=requests - 1,
        status=status,
        last={"status": status},
    )


def a_watcher(agent: Agent, name: str) -> Watcher:
    """A client that has seen four prices of the agent's market."""
    user = User(agent.user_id, name, "token", cast("Any", None))
    watcher = Watcher("http://nowhere", user, "EURUSD")
    watcher.ticks = [a_tick(agent, second) for second in range(4)]
    return watcher


def a_tick(agent: Agent, second: int) -> Tick:
    at = int(DAY.timestamp() * 1000) + 1000 * second
    market = RandomWalk(agent.seed, ["EURUSD"])
    quote, spec = market.quote("EURUSD", at), market.specs["EURUSD"]
    assert quote is not None
    bid, ask = float(spec.decimal(quote.bid)), float(spec.decimal(quote.ask))
    return Tick(bid, ask, at, at + 1.0, 1, second == 0)


def right_run() -> Evidence:
    """Bert does one job of each type; Anna's orders are repeated, refused and stopped."""
    story = Story()
    for job_type in sorted(JOB_TYPES - {"trade", "close_position"}):
        story.jobs.append(a_job(HIS, job_type))
    created = {job.job_id for job in story.jobs}
    story.order(HIS, "trade", "filled")
    story.order(HIS, "close_position", "closed")
    story.order(HERS, "trade", "filled", requests=2)
    story.order(HERS, "trade", "rejected")
    story.order(HERS, "trade", "expired")
    story.deal(HERS, "[sl 1.1]", "out", "sl")
    story.traded_alert(HIS)
    story.alert(HIS, "duplicate")
    story.alert(HIS, None)
    return Evidence(
        accounts=[story.account(HERS), story.account(HIS)],
        created=created,
        jobs={job.job_id: job for job in story.jobs},
        placed=story.placed,
        posted=story.posted,
        signals=story.signals,
        strangers=0,
        watchers=[a_watcher(*one) for one in ((HERS, "anna"), (HIS, "bert")) for _ in range(2)],
        events=[Event(0.5, "jobs")],
        quiet_until=9.0,
        kills={"anna-1": 2, "the service": 3},
        caches=["miss", "hit"] * 2,
        logs="\n".join(f"POST {route} 200" for route in ROUTES),
        secrets=[KEY],
    )


def broken(evidence: Evidence) -> set[str]:
    """The proofs that fail; a run with one is never proved."""
    wrong = prove(evidence)
    failing = {proof for proof, found in wrong.items() if found}
    assert summary(evidence, wrong, 1.0).proved == (not failing)
    return failing


def test_a_run_that_was_right_is_proved() -> None:
    evidence = right_run()
    assert broken(evidence) == set()
    result = summary(evidence, prove(evidence), 1.0).as_dict()
    assert (result["jobs"], result["orders"]["filled"], result["stops"]) == (13, 2, 1)
    assert result["alerts"] == {"executed": 1, "discarded": 1, "nothing": 1}
    assert (result["proved"], result["wrong"], set(result["proofs"])) == (True, [], set(PROOFS))
    whole = next(one for one in result["latencies_ms"] if one["step"].startswith("order"))
    assert (whole["count"], whole["p50"]) == (3, 3200.0)
    answered = next(one for one in result["latencies_ms"] if one["step"] == "alert → answered")
    assert (answered["count"], answered["p50"]) == (3, 100.0)


def of_type(evidence: Evidence, job_type: str, status: str = "completed") -> Job:
    return next(
        job for job in evidence.jobs.values() if (job.job_type, job.status) == (job_type, status)
    )


def changed(job_type: str, status: str = "completed", /, **fields: Any) -> Any:
    """A run in which the database has another job of that type."""

    def change(evidence: Evidence) -> Evidence:
        job = of_type(evidence, job_type, status)
        return replace(evidence, jobs={**evidence.jobs, job.job_id: replace(job, **fields)})

    return change


def without_job(evidence: Evidence) -> Evidence:
    lost = of_type(evidence, "get_account").job_id
    return replace(evidence, jobs={k: job for k, job in evidence.jobs.items() if k != lost})


def account(number: int, **fields: Any) -> Any:
    """A run in which an account is another."""

    def change(evidence: Evidence) -> Evidence:
        accounts = list(evidence.accounts)
        accounts[number] = replace(accounts[number], **fields)
        return replace(evidence, accounts=accounts)

    return change


def book(change: Callable[[list[Deal]], list[Deal]]) -> Any:
    """A run in which Bert's book has other deals, all of them told and counted."""

    def other(evidence: Evidence) -> Evidence:
        his = evidence.accounts[1]
        deals = change(list(his.book.deals))
        told = {deal.deal_id: ("filled", "expert") for deal in deals}
        pnl = {"2026-11-20": Decimal("-1.35") * len(deals)}
        there = {"book": replace(his.book, deals=deals), "deals": told, "pnl": pnl}
        found: Evidence = account(1, **there)(evidence)
        return found

    return other


def placed(number: int, **fields: Any) -> Any:
    """A run in which a user was told something else."""

    def change(evidence: Evidence) -> Evidence:
        told = list(evidence.placed)
        told[number] = replace(told[number], **fields)
        return replace(evidence, placed=told)

    return change


def posted(number: int, **fields: Any) -> Any:
    """A run in which an alert was answered otherwise, or was another."""

    def change(evidence: Evidence) -> Evidence:
        told = list(evidence.posted)
        told[number] = replace(told[number], **fields)
        return replace(evidence, posted=told)

    return change


def signal(number: int, **fields: Any) -> Any:
    """A run in which a signal says something else."""

    def change(evidence: Evidence) -> Evidence:
        found = list(evidence.signals)
        found[number] = found[number].model_copy(update=fields)
        return replace(evidence, signals=found)

    return change


def of_signal(job: Job) -> bool:
    return job.parent_type == "tv_signal"


def order_of_signal(**fields: Any) -> Any:
    """A run in which the order of the signal is another."""

    def change(evidence: Evidence) -> Evidence:
        jobs = {
            job_id: replace(job, **fields) if of_signal(job) else job
            for job_id, job in evidence.jobs.items()
        }
        return replace(evidence, jobs=jobs)

    return change


def alerted_twice(evidence: Evidence) -> Evidence:
    """A run in which an alert became two orders, both filled, told and counted."""
    job = replace(next(filter(of_signal, evidence.jobs.values())), job_id=uuid4())
    deal = evidence.accounts[1].book.deals[-1]
    second = replace(job, deal_id="9")
    twice = replace(evidence, jobs={**evidence.jobs, second.job_id: second})
    found: Evidence = book(
        lambda deals: [*deals, replace(deal, deal_id="9", comment=second.comment)]
    )(twice)
    return found


def seen(number: int, change: Callable[[list[Tick]], list[Tick]]) -> Any:
    """A run in which a client saw something else."""

    def other(evidence: Evidence) -> Evidence:
        watcher = evidence.watchers[number]
        watcher.ticks = change(watcher.ticks)
        return evidence

    return other


def instead(**fields: Any) -> Any:
    return lambda evidence: replace(evidence, **fields)


PLANTED: dict[str, tuple[Callable[[Evidence], Evidence], set[str]]] = {
    "a type that nobody did": (changed("get_candles", job_type="get_account"), {TYPES}),
    "a job that is gone": (without_job, {TYPES, ENDED}),
    "a job that has not ended": (
        changed("get_positions", status="running", finished_at=None),
        {TYPES, ENDED},
    ),
    "an order that stays unknown": (
        changed("trade", "failed", status="unknown", settled_status="unknown"),
        {ENDED},
    ),
    "an order whose end was noted twice": (
        changed("trade", events=[*BEGUN, "filled", "filled"]),
        {ENDED},
    ),
    "an order whose beginning was not noted": (
        changed("trade", events=["requested", "filled"]),
        {ENDED},
    ),
    "an order that was claimed twice under one lease": (
        changed("trade", events=["requested", "claimed", "claimed", "sent", "filled"]),
        {ENDED},
    ),
    "a stranger's job": (changed("get_account", user_id=ANNA), {APART}),
    "another agent's job": (changed("run", queue=f"agent/{HERS.agent_id}"), {APART}),
    "a deployment that does not know": (changed("run", parent_state="deployed"), {SETTLES}),
    "an end that was not settled": (changed("stop", settled_status=None), {SETTLES}),
    "an end whose settling failed": (changed("stop", settle_error="parent_gone"), {SETTLES}),
    "an order that must not be filled": (
        placed(3, status="filled", last={"status": "filled"}),
        {EXPECTED},
    ),
    "a user who was told a tale": (
        changed("trade", "failed", order_status="filled", events=[*BEGUN, "filled"]),
        {EXPECTED, KNOWN},
    ),
    "a second order for one key": (placed(2, order_ids=[uuid4(), uuid4()]), {EXPECTED, KEYS}),
    "a repeat that looks like a first time": (placed(2, replayed=0), {KEYS}),
    "an order that nobody asked for": (
        lambda evidence: replace(evidence, placed=evidence.placed[1:]),
        {KEYS},
    ),
    "an order that was filled twice": (
        book(lambda deals: [*deals, replace(deals[0], deal_id="9")]),
        {ONCE, KNOWN},
    ),
    "a fill of no order": (
        book(lambda deals: [*deals, replace(deals[0], deal_id="9", comment="")]),
        {KNOWN},
    ),
    "a fill that is in no book": (
        book(lambda deals: [deals[0], deals[-1]]),
        {KNOWN},
    ),
    "an alert that is lost": (
        lambda evidence: replace(evidence, signals=evidence.signals[:1]),
        {TRADED},
    ),
    "an alert that became two signals": (
        lambda evidence: replace(
            evidence, signals=[*evidence.signals, a_signal(status="discarded", reason="Words.")]
        ),
        {TRADED},
    ),
    "an alert that became two orders": (alerted_twice, {TRADED}),
    "an alert whose order is another account's": (
        posted(0, alert=a_posted(HERS, "0", "executed").alert),
        {TRADED},
    ),
    "an alert that was traded though it was a repeat": (
        signal(1, status="executed", error_message=None),
        {TRADED},
    ),
    "a signal that does not say why not": (signal(1, reason=None), {TRADED}),
    "a signal that was executed, and is in no book": (
        book(lambda deals: deals[:-1]),
        {KNOWN, TRADED, PRICED},
    ),
    "a discarded signal with a deal": (
        signal(0, status="discarded", error_message="duplicate", reason="Words."),
        {TRADED},
    ),
    "an order of a signal that is not there": (
        order_of_signal(parent_id=uuid4()),
        {KEYS, TRADED, PRICED},
    ),
    "a signal with another price": (signal(0, fill_price=Decimal("1.2")), {PRICED}),
    "a signal without its price": (signal(0, fill_price=None), {PRICED}),
    "an unknown secret that left a signal": (instead(strangers=1), {STRANGERS}),
    "an unknown secret that was refused": (posted(2, answer=(404, "no")), {STRANGERS}),
    "no unknown secret": (
        lambda evidence: replace(evidence, posted=evidence.posted[:2]),
        {STRANGERS},
    ),
    "a fill at another price": (changed("trade", fill_price=9.9), {KNOWN}),
    "a deal that was not told": (account(1, deals={}), {KNOWN}),
    "a stop-loss that was not noticed": (
        account(0, deals={"1": ("filled", "expert"), "2": ("closed", "expert")}),
        {STOPS},
    ),
    "a position too many": (account(1, positions=[]), {POSITIONS}),
    "another balance": (account(1, balance={"balance": 1.0}), {POSITIONS}),
    "a deal that was counted twice": (account(1, pnl={"2026-11-20": Decimal(-4)}), {PNL}),
    "nobody killed": (instead(kills={}), {KILLED}),
    "a kill between two orders": (instead(kills={"anna-1": 0, "the service": 1}), {KILLED}),
    "a price that one client missed": (seen(0, lambda ticks: ticks[:1] + ticks[2:]), {SAME}),
    "clients that saw next to nothing": (seen(0, lambda ticks: ticks[:2]), {SAME}),
    "another user's price": (
        seen(1, lambda ticks: [*ticks, a_tick(HIS, 9)]),
        {OWN},
    ),
    "candles that were asked for twice": (instead(caches=["miss", "miss"] * 2), {CACHED}),
    "a key in the log": (
        lambda evidence: replace(evidence, logs=evidence.logs + KEY),
        {SECRETS},
    ),
    "a log of something else": (instead(logs=""), {SECRETS}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_is_found(name: str) -> None:
    change, expected = PLANTED[name]
    assert broken(change(right_run())) == expected


def test_every_proof_can_fail() -> None:
    assert set().union(*(expected for _, expected in PLANTED.values())) == set(PROOFS)


def test_what_two_clients_saw_is_compared_while_both_were_there() -> None:
    ticks = [a_tick(HERS, second) for second in range(6)]
    cut_off = [*ticks[:2], *(replace(tick, connection=2) for tick in ticks[3:5])]
    shared = list(together(ticks, cut_off))
    assert [len(one) for one, _ in shared] == [2, 2]
    assert all(one == other for one, other in shared)


def test_the_findings_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    evidence = right_run()
    print_result(summary(evidence, prove(evidence), 1.5))
    assert "FAILED" not in capsys.readouterr().out
    wrong = instead(kills={})(evidence)
    print_result(summary(wrong, prove(wrong), 1.5))
    said = capsys.readouterr().out
    assert f"FAILED  {KILLED}\n        killed were none\n" in said
    assert "order, as its user sees it" in said
    table = [line.split() for line in said.splitlines() if " alert " in line]
    assert [" ".join(line) for line in table[1:4]] == [
        "100 bert-1 alert 0 4.0 executed at 1.1",
        "100 bert-1 alert 1 4.0 discarded: The words.",
        "100 bert-1 alert 2 nothing: no signal, no order",
    ]

"""The proofs of `python -m api demo` hold for a run that was right, and fail for what was not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.demo.agent.terminal import Json, Refused, Terminal, Work
from api.demo.evidence import Evidence, Job
from api.demo.proof import LAST_EVENT, PARENT_STATE, PROOFS, ROUTES, SETTLED, prove
from api.demo.report import print_result, summary
from api.demo.world import Agent

ANNA, BERT = uuid4(), uuid4()
HERS = Agent("anna-1", uuid4(), ANNA, uuid4(), ("EURUSD", "GBPUSD"))
HIS = Agent("bert-1", uuid4(), BERT, uuid4(), ("EURUSD",))
KEY = "fxa_a-key-that-nobody-may-read"

ORDER: Json = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
INPUTS: dict[str, Json] = {
    "trade": ORDER,
    "get_candles": {"symbol": "EURUSD", "count": 3},
    "compile": {"source_code": "int x;"},
    **{job_type: {"symbol": "EURUSD"} for job_type in ("deploy", "run", "stop")},
}
PARENTS = {
    "compile": "ea_version",
    "trade": "tv_signal",
    **dict.fromkeys(("deploy", "run", "stop"), "ea_deployment"),
}
ORDERED = ["trade", "close_position", "compile", "deploy", "run", "stop"]
ALL = [*ORDERED, "get_positions", "get_account", "get_candles"]

TYPES, CLAIMED, ENDED, REPORTED, APART, SETTLES, KILLED, PRICES, SECRETS = PROOFS


class Story:
    """Writes down what a right run leaves behind, job by job."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.journals: dict[UUID, list[Json]] = {}
        self.terminals = {a.agent_id: Terminal(a.name, a.symbols) for a in (HERS, HIS)}
        self.prices: dict[str, Json] = {}
        for agent in (HERS, HIS):
            self.journals[agent.agent_id] = [{"event": "started"}]

    def job(
        self, agent: Agent, job_type: str, asked: Json, *, queue: str = "any", killed: bool = False
    ) -> UUID:
        job_id = uuid4()
        report = self._report(agent, Work(str(job_id), job_type, asked))
        self.jobs[job_id] = _ended(job_id, agent, job_type, queue, report)
        lease = {"job_id": str(job_id), "lease_epoch": 1}
        crash: list[Json] = [{"event": "begun", **lease}, {"event": "started"}] if killed else []
        entries: list[Json] = [
            {"event": "claimed", "job": {**lease, "job_type": job_type}},
            *crash,
            {"event": "begun", **lease},
            {"event": "done", **lease, "report": report},
            {"event": "acknowledged", **lease},
        ]
        self.journals[agent.agent_id] += entries
        return job_id

    def _report(self, agent: Agent, work: Work) -> Json:
        try:
            output = self.terminals[agent.agent_id].do(work)
        except Refused as refused:
            told = {"output_data": refused.output} if refused.output else {}
            return {"status": "failed", "error_message": str(refused), **told}
        return {"status": "completed", "output_data": output}

    def push(self, agent: Agent) -> None:
        prices = self.terminals[agent.agent_id].tick()
        self.journals[agent.agent_id].append({"event": "prices", "prices": prices})
        for symbol, price in prices.items():
            for key in (f"prices:{symbol}", f"prices:{agent.agent_id}:{symbol}"):
                self.prices[key] = {**price, "ts": 1}


def _ended(job_id: UUID, agent: Agent, job_type: str, queue: str, report: Json) -> Job:
    status, output = report["status"], report.get("output_data")
    parent = PARENTS.get(job_type)
    done = status == "completed"
    told = (output or {}).get("compilation_error") or report.get("error_message")
    last = LAST_EVENT.get((job_type, status))
    return Job(
        job_id=job_id,
        user_id=agent.user_id,
        job_type=job_type,
        status=status,
        queue=queue,
        agent_id=agent.agent_id,
        lease_epoch=1,
        output_data=output,
        error_message=report.get("error_message"),
        parent_type=parent,
        created_at=1.0,
        claimed_at=2.0,
        started_at=2.5,
        finished_at=3.0,
        settled_status=status if job_type in SETTLED else None,
        settle_error=None,
        parent_state=(PARENT_STATE[job_type, status] if done else "failed") if parent else None,
        parent_error=told if parent else None,
        parent_price=output["fill_price"] if job_type == "trade" and output and done else None,
        events=["requested", last] if last else [],
    )


def right_run() -> Evidence:
    """Bert does one job of each type; Anna is killed in a compilation, and two of hers fail."""
    story = Story()
    for job_type in ALL:
        asked = dict(INPUTS.get(job_type, {}))
        if job_type == "close_position":
            [deal] = [job.output_data for job in story.jobs.values() if job.job_type == "trade"]
            asked["ticket"] = deal["ticket"]
        story.job(HIS, job_type, asked, queue=f"agent/{HIS.agent_id}")
    account = f"broker/{HERS.broker_connection_id}"
    killed = story.job(HERS, "compile", INPUTS["compile"], queue=account, killed=True)
    story.job(HERS, "compile", {"source_code": "#error"})
    story.job(HERS, "trade", {**ORDER, "volume": 1000})
    for agent in (HERS, HIS, HERS):
        story.push(agent)
    return Evidence(
        agents=[HERS, HIS],
        created=set(story.jobs),
        jobs=story.jobs,
        journals=story.journals,
        killed=killed,
        prices=story.prices,
        log="\n".join(f"POST {route} 200" for route in ROUTES),
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
    assert (result["jobs"], result["completed"], result["failed"]) == (12, 10, 2)
    assert (result["users"], result["agents"], result["kills"]) == (2, 2, 1)
    assert (result["proved"], result["wrong"], set(result["proofs"])) == (True, [], set(PROOFS))


def of_type(evidence: Evidence, job_type: str) -> Job:
    return next(job for job in evidence.jobs.values() if job.job_type == job_type)


def changed(job_type: str, /, **fields: Any) -> Callable[[Evidence], Evidence]:
    """A run in which the database has another job of that type."""

    def change(evidence: Evidence) -> Evidence:
        job = of_type(evidence, job_type)
        return replace(evidence, jobs={**evidence.jobs, job.job_id: replace(job, **fields)})

    return change


def without_job(evidence: Evidence) -> Evidence:
    lost = of_type(evidence, "get_account").job_id
    return replace(evidence, jobs={k: job for k, job in evidence.jobs.items() if k != lost})


def nobody_asked_for(evidence: Evidence) -> Evidence:
    return replace(evidence, created=evidence.created - {of_type(evidence, "get_account").job_id})


def written(agent: Agent, *names: str, job_type: str) -> Callable[[Evidence], Evidence]:
    """A run in which the agent's journal has these entries of a job once more."""

    def write(evidence: Evidence) -> Evidence:
        job_id = str(of_type(evidence, job_type).job_id)
        entries = [
            deepcopy(entry)
            for _, entry in evidence.entries(*names)
            if entry.get("job_id", entry.get("job", {}).get("job_id")) == job_id
        ]
        journal = [*evidence.journals[agent.agent_id], *entries]
        return replace(evidence, journals={**evidence.journals, agent.agent_id: journal})

    return write


def without(*names: str) -> Callable[[Evidence], Evidence]:
    """A run whose journals do not have these events."""

    def strip(evidence: Evidence) -> Evidence:
        journals = {
            agent_id: [entry for entry in journal if entry["event"] not in names]
            for agent_id, journal in evidence.journals.items()
        }
        return replace(evidence, journals=journals)

    return strip


def stored(key: str, price: Json | None) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, prices={**evidence.prices, key: price})


def logged(text: str) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, log=evidence.log + text)


ELSEWHERE: Json = {"bid": 9.0, "ask": 9.1, "ts": 1}
PLANTED: dict[str, tuple[Callable[[Evidence], Evidence], set[str]]] = {
    "a type that nobody did": (
        changed("get_candles", job_type="get_account"),
        {TYPES},
    ),
    "a lease that was given twice": (
        written(HIS, "claimed", job_type="run"),
        {CLAIMED},
    ),
    "a lease that two agents have": (
        written(HERS, "claimed", job_type="get_account"),
        {CLAIMED, APART},
    ),
    "a lease that nobody wrote down": (changed("deploy", lease_epoch=2), {CLAIMED}),
    "another holder than the one who claimed": (
        changed("deploy", agent_id=HERS.agent_id),
        {CLAIMED},
    ),
    "a job that is gone": (without_job, {TYPES, CLAIMED, ENDED, APART}),
    "a job that nobody put in": (nobody_asked_for, {ENDED}),
    "a job that has not ended": (
        changed("get_positions", status="running"),
        {TYPES, ENDED, REPORTED},
    ),
    "a result that was acknowledged twice": (
        written(HIS, "acknowledged", job_type="stop"),
        {ENDED},
    ),
    "results that were never acknowledged": (without("acknowledged"), {ENDED, KILLED}),
    "an order that was settled twice": (
        changed("trade", events=["requested", "filled", "filled"]),
        {ENDED},
    ),
    "an order that was not noted": (changed("close_position", events=[]), {ENDED}),
    "another output": (changed("get_account", output_data={"balance": 1}), {REPORTED}),
    "another error": (changed("get_account", error_message="?"), {REPORTED}),
    "a stranger's job": (changed("get_account", user_id=ANNA), {APART}),
    "another account's job": (
        changed("get_account", queue=f"broker/{HERS.broker_connection_id}"),
        {APART},
    ),
    "another agent's job": (changed("run", queue=f"agent/{HERS.agent_id}"), {APART}),
    "a deployment that does not know": (changed("run", parent_state="deployed"), {SETTLES}),
    "a signal with another price": (changed("trade", parent_price=9.9), {SETTLES}),
    "a version with an error of old": (changed("compile", parent_error="line 1"), {SETTLES}),
    "an end that was not settled": (changed("stop", settled_status=None), {SETTLES}),
    "an end whose settling failed": (changed("stop", settle_error="parent_gone"), {SETTLES}),
    "nobody killed": (lambda evidence: replace(evidence, killed=None), {KILLED}),
    "a kill between two jobs": (
        lambda evidence: replace(evidence, killed=of_type(evidence, "run").job_id),
        {KILLED},
    ),
    "an old price of an agent's own": (
        stored(f"prices:{HIS.agent_id}:EURUSD", ELSEWHERE),
        {PRICES},
    ),
    "no price of an agent's own": (stored(f"prices:{HERS.agent_id}:GBPUSD", None), {PRICES}),
    "a shared price that nobody pushed": (stored("prices:EURUSD", ELSEWHERE), {PRICES}),
    "no prices at all": (without("prices"), {PRICES}),
    "a key in the log": (logged(f"X-Agent-Key: {KEY}"), {SECRETS}),
    "another log": (lambda evidence: replace(evidence, log="all is well"), {SECRETS}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_proof_fails_for_what_was_not_right(case: str) -> None:
    plant, failing = PLANTED[case]
    assert broken(plant(right_run())) == failing


def test_every_proof_can_fail() -> None:
    assert set(PROOFS) == set().union(*(failing for _, failing in PLANTED.values()))


def test_the_report_names_each_proof_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    evidence = logged(KEY)(right_run())
    print_result(summary(evidence, prove(evidence), 1.0))
    said = capsys.readouterr().out
    assert f"proved  {TYPES}" in said
    assert f"FAILED  {SECRETS}\n        the log holds secret number 0" in said
    assert KEY not in said
    assert said.count("<- agent killed here") == 1

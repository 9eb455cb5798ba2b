"""A trader's desk: a user with an account, and an agent that does what a test tells it to."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

import httpx

from tests.api.world import Agent, Json, Service, User, until

Does: TypeAlias = Callable[[Json], Json]
"""What an agent reports of a job: `{"status": …, "output_data": …, "error_message": …}`."""

ORDER = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}


@dataclass
class Desk:
    """A user and the agent of the user's one account; `taken` are the jobs it has begun."""

    user: User
    agent: Agent
    account: str
    taken: list[Json] = field(default_factory=list)

    def order(self, body: Json = None, *, key: str | None = None, **more: Json) -> httpx.Response:
        headers = {**self.user.headers, **({"Idempotency-Key": key} if key else {})}
        body = {**ORDER, **more} if body is None else body
        return self.user.service.http.post("/api/v1/orders", headers=headers, json=body)

    def close(self, ticket: str, *, key: str | None = None, **query: Any) -> httpx.Response:
        headers = {**self.user.headers, **({"Idempotency-Key": key} if key else {})}
        return self.user.service.http.delete(
            f"/api/v1/positions/{ticket}", headers=headers, params=query or None
        )

    def jobs(self, job_type: str) -> list[Json]:
        """Return the jobs of that type that the agent has begun."""
        return [job for job in self.taken if job["job_type"] == job_type]


def new_desk(service: Service, *, alive: bool = True) -> Desk:
    user = service.user()
    made = user.post("/api/v1/broker-connections", {"name": secrets.token_hex(4)})
    account = made.json()["id"]
    agent = user.pair(broker_connection_id=account)
    if alive:
        beat(agent)
    return Desk(user, agent, account)


def beat(agent: Agent) -> Json:
    """Have the agent give a sign of life that the database knows of at once."""
    answer = agent.post(f"{agent.path}/heartbeat", {"status": "online"})
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def working(desk: Desk, **does: Does | Json) -> Iterator[Desk]:
    """Have the agent do jobs of these types, one by one, as long as the block lasts."""
    ends = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not ends.is_set():
                take_one(desk, does)
        except BaseException as error:  # noqa: BLE001 - told at the block's end
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield desk
    finally:
        ends.set()
        thread.join()
    assert not failures, failures


def take_one(desk: Desk, does: Mapping[str, Does | Json], wait: float = 0.5) -> None:
    """Claim a job if there is one, begin it, and report what is to be reported."""
    agent = desk.agent
    job = agent.next(wait=wait, ack=1, request_id=str(uuid4()))
    if "job_id" not in job:
        return
    held = {"lease_epoch": job["lease_epoch"]}
    started = agent.post(f"{agent.path}/jobs/{job['job_id']}/start", held)
    assert started.status_code == 200, started.text
    desk.taken.append(job)
    todo = does[job["job_type"]]
    report = todo(job) if callable(todo) else todo
    reported = agent.post(f"{agent.path}/jobs/{job['job_id']}/result", {**held, **report})
    assert reported.status_code == 200, reported.text


def filled(job: Json, price: float | str = 1.08415, **more: Json) -> Json:
    """Report that the order of the job was filled as it was meant."""
    order = job["input_data"]
    ticket = str(int(job["job_id"][:8], 16))
    return completed(
        {
            "ticket": ticket,
            "broker_order_id": ticket,
            "position_id": ticket,
            "deal_id": ticket,
            "symbol": order["symbol"],
            "side": order["side"],
            "volume": order["volume"],
            "fill_price": price,
            "commission": -0.7,
            "swap": 0,
            "retcode": 10009,
            "retcode_name": "TRADE_RETCODE_DONE",
            "latency": {"queued_ms": 1, "sent_ms": 2, "filled_ms": 30},
            **more,
        }
    )


def closed(job: Json, price: float = 1.0851, pnl: float = 9.5) -> Json:
    """Report that the position of the job is closed."""
    ticket = job["input_data"]["ticket"]
    return completed(
        {
            "ticket": ticket,
            "closed_price": price,
            "pnl": pnl,
            "volume": job["input_data"].get("volume") or 0.1,
            "symbol": "EURUSD",
            "side": "buy",
            "deal_id": str(int(job["job_id"][:8], 16)),
            "broker_order_id": "1",
            "commission": 0,
            "swap": 0,
            "retcode": 10009,
            "retcode_name": "TRADE_RETCODE_DONE",
        }
    )


def completed(output: Json) -> Json:
    return {"status": "completed", "output_data": output}


def refused(error_code: str, message: str, **more: Json) -> Json:
    """Report a refusal of the broker, or of the agent itself."""
    output = {"error_code": error_code, **more}
    return {"status": "failed", "output_data": output, "error_message": message}


def until_awaited(desk: Desk, count: int) -> None:
    """Return when so many callers wait for what agents do."""
    http = desk.user.service.http
    until(lambda: f"api_answers_awaited {count}\n" in http.get("/metrics").text)


def at_once(count: int, work: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Do the same so many times at the same time."""
    gate = threading.Barrier(count)
    answers: list[httpx.Response] = []

    def one() -> None:
        gate.wait(30)
        answers.append(work())

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count
    return answers

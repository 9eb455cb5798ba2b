"""Alerts while PostgreSQL and Redis die and come back: each accepted one is found, and traded once.

`WEBHOOK_ALERTS` is how many are sent (the suite sends a thousand, a release ten thousand).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import redis

from api.embedded import EmbeddedValkey
from api.spool import FAILED, SPOOL
from jobengine.embedded import EmbeddedPostgres
from tests.api.alerts import Strategy, new_strategy
from tests.api.world import PATIENCE, Service, server_folder, serving, until
from tests.sql.platform.helpers import install

ALERTS = int(os.environ.get("WEBHOOK_ALERTS", "1000"))
CONNECTIONS = 8
VARIABLES = {"WEBHOOK_STRICT_200": "false", "WEBHOOK_PER_MINUTE": "0"}
DUPLICATES = 5  # one alert in so many is sent again


@dataclass
class World:
    """The service and the servers below it, which die on demand."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    service: Service

    def outcome(self, name: str) -> int:
        """How many alerts ended so, by the service's own count."""
        text = self.service.http.get("/metrics").text
        found = re.search(rf'api_alerts_total{{outcome="{name}"}} (\d+)', text)
        return int(found[1]) if found else 0

    def waiting(self, key: str = SPOOL) -> int:
        with redis.Redis.from_url(self.valkey.url) as client:
            found: int = client.llen(key)
            return found

    def without_postgres(self, meanwhile: Callable[[], object]) -> None:
        self.postgres.kill()
        try:
            meanwhile()
        finally:
            self.postgres.restart("immediate")


@pytest.fixture
def world() -> Iterator[World]:
    with (
        server_folder() as folder,
        EmbeddedPostgres(folder / "postgres") as postgres,
        EmbeddedValkey(folder / "valkey", durable=True) as valkey,
    ):
        asyncio.run(install(postgres.url))
        with serving(postgres.url, valkey.url, **VARIABLES) as service:
            yield World(postgres, valkey, service)


@pytest.fixture
def strategy(world: World) -> Strategy:
    return new_strategy(world.service.user(), expires_in=0)


@dataclass
class Sender:
    """Sends alerts over some connections, each until it is accepted, as TradingView resends."""

    world: World
    strategy: Strategy
    accepted: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, names: list[str]) -> None:
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            shares = [names[n::CONNECTIONS] for n in range(CONNECTIONS)]
            for done in [threads.submit(self._share, share) for share in shares]:
                done.result()

    def _share(self, names: list[str]) -> None:
        with httpx.Client(base_url=self.world.service.address, timeout=PATIENCE) as http:
            for name in names:
                body = json.dumps({"symbol": "EURUSD", "action": "buy", "volume": 1, "id": name})
                until(lambda: self._accepted(http, body))  # noqa: B023 - called at once
                with self.lock:
                    self.accepted[name] += 1

    def _accepted(self, http: httpx.Client, body: str) -> bool:
        answer = http.post(self.strategy.path, content=body)
        assert answer.status_code in {200, 503}, answer.text
        return answer.status_code == 200

    def count(self) -> int:
        with self.lock:
            return self.accepted.total()


def drained(world: World) -> None:
    until(lambda: world.waiting() == 0)


def signals(world: World, strategy: Strategy) -> list[dict[str, Any]]:
    return world.service.rows(
        "select raw_payload ->> 'id' as name, status, error_message, job_id, received_at"
        " from public.tv_signals where strategy_id = %s order by received_at",
        strategy.strategy_id,
    )


def test_no_accepted_alert_is_lost_and_none_is_traded_twice(
    world: World, strategy: Strategy
) -> None:
    names = [str(number) for number in range(ALERTS)]
    again = names[::DUPLICATES]
    chance = random.Random(6)  # noqa: S311 - repeatable, not secret
    told = [*names, *again]
    chance.shuffle(told)
    sender = Sender(world, strategy)
    sending = threading.Thread(target=sender.send, args=(told,))
    sending.start()

    def some_spooled() -> None:
        before = world.outcome("spooled")
        until(lambda: world.outcome("spooled") > before or not sending.is_alive())

    def redis_dies_too() -> None:
        some_spooled()
        world.valkey.kill()
        world.valkey.restart()
        some_spooled()

    until(lambda: sender.count() > len(told) // 5)
    world.without_postgres(some_spooled)
    until(lambda: sender.count() > len(told) // 2)
    world.without_postgres(redis_dies_too)
    sending.join()
    drained(world)

    found = signals(world, strategy)
    check(sender.accepted, found)
    assert world.waiting(FAILED) == 0
    assert world.outcome("spooled") > 0
    jobs = world.service.rows(
        "select count(*) as jobs from jobengine.job where job_type = 'trade' and tenant_id = %s",
        strategy.owner.user_id,
    )
    assert jobs[0]["jobs"] == len(names)


def check(accepted: Counter[str], found: list[dict[str, Any]]) -> None:
    """Every accepted sending has its signal; of each alert one is a trade, the rest say why not.

    There may be more signals than acceptances: an answer can be lost after the decision.
    """
    by_name = Counter(signal["name"] for signal in found)
    assert [name for name, count in accepted.items() if by_name[name] < count] == []
    traded = Counter(signal["name"] for signal in found if signal["job_id"])
    assert traded == dict.fromkeys(accepted, 1)
    rest = {(s["status"], s["error_message"]) for s in found if not s["job_id"]}
    assert rest <= {("discarded", "duplicate")}


def test_the_order_of_alerts_survives_an_outage(world: World, strategy: Strategy) -> None:
    """What comes while something waits in the spool waits behind it, also after the outage."""
    sender = Sender(world, strategy)
    names = [f"{number:03}" for number in range(60)]

    def first_half() -> None:
        sender._share(names[:30])
        assert world.waiting() > 0

    world.without_postgres(first_half)
    sender._share(names[30:])
    drained(world)
    until(lambda: len(signals(world, strategy)) == len(names))
    decided = world.service.rows(
        "select raw_payload ->> 'id' as name from public.tv_signals order by job_id"
    )
    assert [signal["name"] for signal in decided] == names


def test_a_secret_of_nobodys_is_not_spooled(world: World, strategy: Strategy) -> None:
    def strangers() -> None:
        path = strategy.path.replace(strategy.secret, "nobody's")
        for _ in range(3):
            assert world.service.http.post(path, json={"symbol": "EURUSD"}).status_code == 200
        strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})
        assert world.waiting() == 1

    world.without_postgres(strangers)
    drained(world)
    until(lambda: len(signals(world, strategy)) == 1)


def test_an_alert_that_waited_too_long_says_so(world: World) -> None:
    strategy = new_strategy(world.service.user(), expires_in=1)

    def one_that_ages() -> None:
        strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})
        threading.Event().wait(1.0)  # its age is the fact that is waited for

    world.without_postgres(one_that_ages)
    until(lambda: len(signals(world, strategy)) == 1)
    assert signals(world, strategy)[0]["error_message"] == "expired"


def test_a_machine_whose_clock_is_an_hour_behind_takes_alerts(world: World) -> None:
    """An alert's age is told, not its time: at once, and out of the spool."""
    strategy = new_strategy(world.service.user())  # its alerts are good for five minutes
    with psycopg.connect(world.postgres.url, autocommit=True) as conn:
        conn.execute(
            "create or replace function jobengine._now() returns timestamptz language sql volatile"
            " as $$ select clock_timestamp() + interval '1 hour' $$"
        )
    alert = {"symbol": "EURUSD", "action": "buy", "volume": 1}
    strategy.alert(alert | {"id": "directly"})
    until(lambda: len(signals(world, strategy)) == 1)
    world.without_postgres(lambda: strategy.alert(alert | {"id": "out of the spool"}))
    until(lambda: len(signals(world, strategy)) == 2)
    assert [signal["error_message"] for signal in signals(world, strategy)] == [None, None]


def test_alerts_are_decided_while_redis_is_away(world: World, strategy: Strategy) -> None:
    world.valkey.kill()
    strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})
    assert len(signals(world, strategy)) == 1
    world.valkey.restart()


def test_a_new_secret_is_known_to_the_spool_at_once(world: World, strategy: Strategy) -> None:
    fresh = new_strategy(world.service.user())
    world.without_postgres(lambda: fresh.alert({"symbol": "EURUSD"}))
    until(lambda: len(signals(world, fresh)) == 1)


def test_an_alert_that_cannot_be_decided_is_put_aside(world: World, strategy: Strategy) -> None:
    """By a mistake of ours only; those behind it are not held up."""
    with psycopg.connect(world.postgres.url) as conn:
        conn.execute(
            "alter table public.tv_signals add constraint planted check (symbol <> 'BROKEN')"
        )

    def broken_one() -> None:
        strategy.alert({"symbol": "BROKEN", "action": "buy", "volume": 1})
        strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})

    world.without_postgres(broken_one)
    drained(world)
    until(lambda: len(signals(world, strategy)) == 1)
    assert world.waiting(FAILED) == 1


def test_alerts_wait_for_a_database_that_is_not_ready(world: World, strategy: Strategy) -> None:
    """As before its functions are there, or ours to call: no fault of the alert's."""
    with psycopg.connect(world.postgres.url, autocommit=True) as conn:
        conn.execute("revoke execute on function public.signal_receive from service_role")
        strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})
        until(lambda: "alerts wait for the database" in world.service.printed())
        assert (world.waiting(), world.waiting(FAILED)) == (1, 0)
        conn.execute("grant execute on function public.signal_receive to service_role")
    until(lambda: len(signals(world, strategy)) == 1)


def test_a_redis_that_lost_its_memory_takes_what_the_process_knows(
    world: World, strategy: Strategy
) -> None:
    def emptied() -> None:
        with redis.Redis.from_url(world.valkey.url) as client:
            client.flushall()
        strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1})
        assert world.waiting() == 1

    world.without_postgres(emptied)
    until(lambda: len(signals(world, strategy)) == 1)


def test_a_flood_writes_so_much_and_no_more_and_closing_passes_it() -> None:
    with (
        server_folder() as folder,
        EmbeddedPostgres(folder / "postgres") as postgres,
        EmbeddedValkey(folder / "valkey", durable=True) as valkey,
    ):
        asyncio.run(install(postgres.url))
        with serving(postgres.url, valkey.url, WEBHOOK_PER_MINUTE="3") as service:
            strategy = new_strategy(service.user())
            for number in range(9):
                strategy.alert({"symbol": "EURUSD", "action": "buy", "volume": 1, "id": number})
            strategy.alert({"symbol": "EURUSD", "action": "close"})
            until(lambda: len(strategy.signals()) == 7)
            codes = Counter(signal["error_message"] for signal in strategy.signals())
            metrics = service.http.get("/metrics").text
    assert codes == {"rate_limited": 3, "orders_cancelled": 1, "closed_by_alert": 3}
    assert 'api_alerts_total{outcome="flooded"} 3' in metrics

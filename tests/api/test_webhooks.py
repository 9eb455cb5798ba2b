"""BK6's criteria by name, the bodies that TradingView sends, and what nobody must learn."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import httpx
import pytest

from api.embedded import EmbeddedValkey
from tests.api.alerts import Strategy, fields, new_strategy
from tests.api.world import Service, User, serving, until

ALERT = {"symbol": "EURUSD", "action": "buy", "volume": 0.1}
FILL = {
    "ticket": "501",
    "position_id": "501",
    "broker_order_id": "77",
    "deal_id": "91",
    "fill_price": 1.10345,
    "volume": 0.1,
    "symbol": "EURUSD",
    "side": "buy",
}


@pytest.fixture
def strategy(owner: User) -> Strategy:
    return new_strategy(owner)


def jobs(owner: User) -> list[Any]:
    found: list[Any] = owner.get("/api/v1/jobs").json()
    return found


# -- the acceptance criteria of BK6


def test_tradingview_post_returns_200_before_the_job_executes(
    owner: User, strategy: Strategy
) -> None:
    strategy.alert(ALERT)
    signal = strategy.signal()
    assert fields(signal, "status", "symbol", "action", "raw_payload") == (
        *("pending", "EURUSD", "buy"),
        ALERT,
    )
    [job] = jobs(owner)
    assert job["status"] == "pending"
    assert fields(job["input_data"], "symbol", "side", "volume", "source", "signal_id") == (
        *("EURUSD", "buy", 0.1, "tv_signal"),
        signal["id"],
    )


def test_disabled_strategy_discards_the_signal_and_makes_no_job(
    owner: User, strategy: Strategy
) -> None:
    strategy.change(is_enabled=False)
    strategy.alert(ALERT)
    assert fields(strategy.signal(), "status", "error_message", "reason") == (
        *("discarded", "strategy_disabled"),
        "The strategy is disabled.",
    )
    assert jobs(owner) == []


def test_unknown_webhook_secret_returns_200_and_writes_nothing(
    service: Service, owner: User, strategy: Strategy
) -> None:
    before = service.rows("select count(*) as rows from public.tv_signals")
    answer = service.http.post("/api/v1/webhooks/tv/nobodys-secret", json=ALERT)
    assert (answer.status_code, answer.text) == (200, "ok")
    strategy.alert(ALERT)  # one that is told of comes later, so the other is decided by then
    strategy.signal()
    after = service.rows("select count(*) as rows from public.tv_signals")
    assert after[0]["rows"] == before[0]["rows"] + 1


def test_who_names_too_many_unknown_secrets_is_not_looked_up_any_more(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    """A known secret from the same address is: TradingView's addresses are everybody's."""
    with serving(platform_url, valkey.url, AGENT_KEY_FAILURES="2") as service:

        def barred() -> int:
            text = service.http.get("/metrics").text
            found = re.search(r'api_alerts_total{outcome="barred"} (\d+)', text)
            return int(found[1]) if found else 0

        def wrong(number: int) -> bool:
            answer = service.http.post(f"/api/v1/webhooks/tv/nobody-{number}", json=ALERT)
            assert (answer.status_code, answer.text) == (200, "ok")
            return barred() > 0

        numbers = itertools.count()
        wrong(next(numbers))
        assert barred() == 0
        until(lambda: wrong(next(numbers)))  # from when the known secrets have been read
        strategy = new_strategy(service.user())
        strategy.alert(ALERT)
        assert strategy.signal()["status"] == "pending"


def test_post_strategies_returns_a_webhook_url_of_its_own(owner: User) -> None:
    made = [owner.post("/api/v1/strategies", {"name": "s"}).json() for _ in range(5)]
    urls = {found["webhook_url"] for found in made}
    assert len(urls) == len(made)
    for url in urls:
        base, _, secret = url.rpartition("/")
        assert base == f"{owner.service.address}/api/v1/webhooks/tv"
        assert len(secret) == 43


def test_get_signal_has_the_fill_price_of_an_executed_one(owner: User, strategy: Strategy) -> None:
    strategy.alert(ALERT)
    job = strategy.agent.next(wait=20)
    assert strategy.agent.result(job["job_id"], output_data=FILL).status_code == 200
    signal = owner.get(f"/api/v1/signals/{strategy.signal()['id']}").json()
    assert fields(signal, "status", "fill_price", "broker_order_id", "error_message") == (
        *("executed", 1.10345, "77"),
        None,
    )
    assert signal["resolved_at"] is not None


def test_get_signal_has_the_error_message_of_a_failed_one(owner: User, strategy: Strategy) -> None:
    strategy.alert(ALERT)
    job = strategy.agent.next(wait=20)
    failed = strategy.agent.result(
        job["job_id"], status="failed", error_message="no money", output_data={}
    )
    assert failed.status_code == 200
    signal = owner.get(f"/api/v1/signals/{strategy.signal()['id']}").json()
    assert fields(signal, "status", "error_message", "fill_price") == ("failed", "no money", None)


def test_daily_loss_limit_breach_discards_with_its_message(
    service: Service, owner: User, strategy: Strategy
) -> None:
    assert owner.patch("/api/v1/settings", {"daily_loss_limit_pct": 5}).status_code == 200
    service.rows(
        "insert into public.daily_pnl (user_id, broker_connection_id, day, realized_pnl,"
        " base_balance) select user_id, id, (now() at time zone 'UTC')::date, -50, 1000"
        " from public.broker_connections where user_id = %s returning 1",
        owner.user_id,
    )
    strategy.alert(ALERT)
    assert fields(strategy.signal(), "status", "error_message") == (
        "discarded",
        "daily_loss_limit_reached",
    )


# -- bodies


PLACEHOLDERS = (
    '{"symbol":"{{ticker}}","action":"{{strategy.order.action}}","volume":0.1,'
    '"id":"{{strategy.order.id}}-{{timenow}}"}'
)
BODIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "json": (b'{"symbol":"EURUSD","action":"buy","volume":0.1}', {"status": "pending"}),
    "json with a trailing newline": (
        b'{"symbol":"EURUSD","action":"buy","volume":0.1}\n',
        {"status": "pending"},
    ),
    "quoted numbers": (
        b'{"symbol":"EURUSD","action":"buy","volume":"0.10"}',
        {"status": "pending", "volume": 0.1},
    ),
    "aliases": (
        b'{"Ticker":"OANDA:EURUSD","side":"SELL","lots":2}',
        {"status": "pending", "symbol": "EURUSD", "action": "sell", "volume": 2},
    ),
    "more aliases": (
        b'{"pair":"FX:GBPUSD","order":"long","contracts":"1"}',
        {"status": "pending", "symbol": "GBPUSD", "action": "buy"},
    ),
    "placeholders left unfilled": (
        PLACEHOLDERS.encode(),
        {"status": "discarded", "error_message": "invalid_payload", "symbol": None},
    ),
    "a volume left unfilled": (
        b'{"symbol":"EURUSD","action":"buy","volume":"{{strategy.order.contracts}}"}',
        {"status": "discarded", "error_message": "volume_missing"},
    ),
    "a volume that is none": (
        b'{"symbol":"EURUSD","action":"buy","volume":"all"}',
        {"status": "discarded", "error_message": "volume_out_of_range"},
    ),
    "a stop that is none": (
        b'{"symbol":"EURUSD","action":"buy","volume":1,"sl":"tight"}',
        {"status": "discarded", "error_message": "invalid_payload"},
    ),
    "an action that is none": (
        b'{"symbol":"EURUSD","action":"hold"}',
        {"status": "discarded", "error_message": "invalid_payload", "symbol": "EURUSD"},
    ),
    "not json": (
        b"EURUSD crossed 1.1",
        {
            "status": "discarded",
            "error_message": "invalid_payload",
            "raw_payload": {"_raw": "EURUSD crossed 1.1"},
        },
    ),
    "a list": (
        b"[1]",
        {"error_message": "invalid_payload", "raw_payload": {"_raw": "[1]"}},
    ),
    "empty": (b"", {"error_message": "invalid_payload", "raw_payload": {"_raw": ""}}),
    "no text": (b"\xff\x00", {"error_message": "invalid_payload"}),
    "a NUL inside": (
        b'{"symbol":"EURUSD","action":"buy","volume":1,"note":"\\u0000"}',
        {"status": "pending"},
    ),
    "deep": (
        b'{"symbol":"EURUSD","action":"buy","volume":1,"note":%s1%s}' % (b"[" * 500, b"]" * 500),
        {"status": "pending", "symbol": "EURUSD", "volume": 1},
    ),
    "too deep": (
        b'{"symbol":"EURUSD","action":"buy","note":%s1%s}' % (b"[" * 20_000, b"]" * 20_000),
        {"status": "discarded", "error_message": "invalid_payload"},
    ),
    "a number beyond all": (
        b'{"symbol":"EURUSD","action":"buy","volume":1e400}',
        {"status": "discarded", "error_message": "invalid_payload"},
    ),
    "not a number": (
        b'{"symbol":"EURUSD","action":"buy","volume":"NaN"}',
        {"status": "discarded", "error_message": "volume_out_of_range"},
    ),
    "64 KB": (
        b'{"symbol":"EURUSD","action":"buy","volume":1,"note":"%s"}' % (b"x" * 65_400),
        {"status": "pending"},
    ),
    "beyond 64 KB": (
        b'{"symbol":"EURUSD","action":"buy","volume":1,"note":"%s"}' % (b"x" * 65_536),
        {"status": "discarded", "error_message": "invalid_payload"},
    ),
    "a close whose symbol is none": (
        b'{"symbol":"NSE:NIFTY 50","action":"close","sl":"NaN"}',
        {"action": "close", "error_message": "invalid_payload", "symbol": None},
    ),
    "nothing to close": (
        b'{"symbol":"EURUSD","action":"exit"}',
        {"action": "close", "error_message": "position_not_found"},
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("media", ["application/json", "text/plain; charset=utf-8"])
def test_a_body_is_read_whatever_its_header_says(strategy: Strategy, name: str, media: str) -> None:
    body, expected = BODIES[name]
    strategy.alert(body, **{"Content-Type": media})
    signal = strategy.signal()
    assert {key: signal[key] for key in expected} == expected


def test_a_body_beyond_a_megabyte_is_answered_like_any_other(strategy: Strategy) -> None:
    with httpx.Client(base_url=strategy.owner.service.address) as http:
        answer = http.post(strategy.path, content=b"x" * 1_100_000)
    assert (answer.status_code, answer.text) == (200, "ok")
    assert strategy.signal()["error_message"] == "invalid_payload"


def test_the_suggested_message_is_taken_once_per_order(strategy: Strategy) -> None:
    filled = {**ALERT, "id": "Long-2026-11-21T15:00:00Z"}
    for _ in range(3):
        strategy.alert(filled)
    strategy.alert({**filled, "id": "Long-2026-11-21T15:01:00Z"})
    until(lambda: len(strategy.signals()) == 4)
    states = sorted((s["status"], s["error_message"]) for s in strategy.signals())
    duplicate = ("discarded", "duplicate")
    assert states == sorted([duplicate, duplicate, ("pending", None), ("pending", None)], key=str)


LONG = (100000000000000000001, 100000000000000000002)


def test_long_numeric_ids_that_differ_are_two_alerts(strategy: Strategy) -> None:
    """A JSON number of 21 digits loses its last ones: they must not make an alert a repeat."""
    for count, number in enumerate((*LONG, LONG[0]), 1):
        strategy.alert({**ALERT, "id": number})
        # One that waits in the spool for a moment would be decided after those behind it.
        until(lambda: len(strategy.signals()) == count)  # noqa: B023 - called at once
    assert [s["error_message"] for s in strategy.signals()] == ["duplicate", None, None]


def test_close_closes_what_the_strategy_opened(owner: User, strategy: Strategy) -> None:
    strategy.alert(ALERT)
    opening = strategy.agent.next(wait=20)
    strategy.agent.result(opening["job_id"], output_data=FILL)
    strategy.alert({"symbol": "EURUSD", "action": "close"})
    closing = strategy.agent.next(wait=20)
    assert (closing["job_type"], closing["input_data"]["ticket"]) == ("close_position", "501")
    closed = {"closed_price": 1.2, "pnl": 9, "volume": 0.1, "deal_id": "92", "ticket": "501"}
    strategy.agent.result(closing["job_id"], output_data=closed)
    newest = strategy.signals()[0]
    assert fields(newest, "action", "status", "fill_price") == ("close", "executed", 1.2)


# -- what nobody must learn


def test_a_get_is_refused_by_the_router_and_logged_without_the_secret(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url) as service:
        strategy = new_strategy(service.user())
        strategy.alert(ALERT)
        assert service.http.get(strategy.path).status_code == 405
        strategy.signal()
        metrics = service.http.get("/metrics").text
        log = service.stop()
    assert strategy.secret not in log + metrics
    assert "api_alerts_total" in metrics


def test_a_rotated_secret_works_while_it_overlaps(owner: User, strategy: Strategy) -> None:
    path = f"/api/v1/strategies/{strategy.strategy_id}/rotate-secret"
    url = owner.post(path).json()["webhook_url"]
    former = strategy.path
    strategy.path = url.removeprefix(owner.service.address)
    strategy.alert({**ALERT, "id": 1})
    strategy.path = former
    strategy.alert({**ALERT, "id": 2})
    until(lambda: len(strategy.signals()) == 2)


def test_an_address_that_is_not_allowed_is_discarded(owner: User) -> None:
    strategy = new_strategy(owner, allowed_sources=["52.89.214.238", "34.212.75.30"])
    strategy.alert(ALERT, **{"X-Real-IP": "52.89.214.238"})
    assert strategy.signal()["error_message"] == "source_not_allowed"
    strategy.change(allowed_sources=["127.0.0.0/8"])
    strategy.alert({**ALERT, "id": 2})
    until(lambda: len(strategy.signals()) == 2)
    assert strategy.signals()[0]["status"] == "pending"


def test_without_a_store_it_is_still_200_unless_told_otherwise(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    nowhere = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    for strict, status in (("true", 200), ("false", 503)):
        with serving(platform_url, valkey.url, **nowhere, WEBHOOK_STRICT_200=strict) as service:
            answer = service.http.post("/api/v1/webhooks/tv/any", json=ALERT)
            assert answer.status_code == status
            log = service.stop()
        assert "an alert is lost" in log
        assert json.dumps(ALERT) not in log

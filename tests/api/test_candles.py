"""Candles over HTTP: R47, C9."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from api.candles import KEPT_SECONDS
from api.embedded import EmbeddedValkey
from api.models import ALIASES, TIMEFRAMES
from tests.api.desk import Desk, completed, new_desk, refused, working
from tests.api.world import Service, problem, server_folder, serving

PATH = "/api/v1/candles"
MINUTE = 60


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


@pytest.fixture
def store(valkey: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url)


def candle(number: int) -> dict[str, Any]:
    return {
        "time": 1_700_000_000 + number * MINUTE,
        "open": 1.08 + number / 100_000,
        "high": 1.09,
        "low": 1.07,
        "close": 1.0805,
        "volume": 120,
    }


def terminal(length: int) -> Any:
    """A terminal that has so many candles."""

    def answer(job: Any) -> Any:
        count = job["input_data"]["count"]
        return completed({"candles": [candle(n) for n in range(length)][-count:]})

    return answer


def test_r47_candles_are_an_array_of_the_newest_oldest_first(desk: Desk) -> None:
    with working(desk, get_candles=terminal(500)):
        answer = desk.user.get(f"{PATH}/EURUSD", timeframe="M1")
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "miss")
    assert answer.json() == [candle(n) for n in range(300, 500)]
    asked = {"instrument": "EURUSD", "timeframe": "M1", "count": 200}
    assert desk.taken[0]["input_data"] == asked


def test_candles_second_call_is_a_redis_hit(desk: Desk) -> None:
    with working(desk, get_candles=terminal(500)):
        first = desk.user.get(f"{PATH}/EURUSD", timeframe="M5", count=50)
        again = desk.user.get(f"{PATH}/EURUSD", timeframe="M5", count=50)
    assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
    assert first.content == again.content
    assert len(desk.taken) == 1


def test_they_are_kept_for_30_seconds_under_the_agents_key(desk: Desk, store: redis.Redis) -> None:
    with working(desk, get_candles=terminal(10)):
        desk.user.get(f"{PATH}/EURUSD", count=5)
    assert 0 < int(str(store.ttl(f"candles:{desk.agent.agent_id}:EURUSD:M1"))) <= KEPT_SECONDS == 30


def test_c9_fewer_are_cut_from_what_is_kept_more_are_asked_for(desk: Desk) -> None:
    with working(desk, get_candles=terminal(500)):
        counts = [(50, "miss"), (10, "hit"), (200, "miss"), (50, "hit"), (200, "hit")]
        for count, cache in counts:
            answer = desk.user.get(f"{PATH}/EURUSD", count=count)
            assert answer.headers["x-cache"] == cache
            assert answer.json() == [candle(n) for n in range(500 - count, 500)]


def test_a_list_that_is_all_the_terminal_has_is_enough_for_any_count(desk: Desk) -> None:
    with working(desk, get_candles=terminal(7)):
        assert desk.user.get(f"{PATH}/EURUSD", count=10).headers["x-cache"] == "miss"
        more = desk.user.get(f"{PATH}/EURUSD", count=5000)
    assert (more.headers["x-cache"], len(more.json())) == ("hit", 7)


def test_each_instrument_and_timeframe_is_kept_for_itself(desk: Desk) -> None:
    with working(desk, get_candles=terminal(5)):
        for path in ("EURUSD?timeframe=M1", "EURUSD?timeframe=H1", "GBPUSD?timeframe=M1"):
            assert desk.user.get(f"{PATH}/{path}").headers["x-cache"] == "miss"
        assert desk.user.get(f"{PATH}/EURUSD?timeframe=1h").headers["x-cache"] == "hit"


def test_c9_two_brokers_candles_differ(service: Service, desk: Desk) -> None:
    other = new_desk(service)
    with working(desk, get_candles=terminal(5)), working(other, get_candles=terminal(9)):
        assert len(desk.user.get(f"{PATH}/EURUSD").json()) == 5
        assert len(other.user.get(f"{PATH}/EURUSD").json()) == 9
        assert len(desk.user.get(f"{PATH}/EURUSD").json()) == 5


@pytest.mark.parametrize("timeframe", [*TIMEFRAMES, *ALIASES])
def test_all_timeframes_and_their_aliases_are_taken(desk: Desk, timeframe: str) -> None:
    with working(desk, get_candles=terminal(1)):
        assert desk.user.get(f"{PATH}/EURUSD", timeframe=timeframe).status_code == 200
    assert desk.taken[0]["input_data"]["timeframe"] == ALIASES.get(timeframe, timeframe)


def test_there_are_21_timeframes() -> None:
    assert len(TIMEFRAMES) == len(set(TIMEFRAMES)) == len(ALIASES) == 21


@pytest.mark.parametrize(
    "query",
    [
        {"timeframe": "M7"},
        {"timeframe": "m1"},
        {"timeframe": ""},
        {"count": "0"},
        {"count": "5001"},
        {"count": "many"},
        {"broker_connection_id": "x"},
    ],
)
def test_a_question_out_of_bounds_is_422_and_named(desk: Desk, query: dict[str, str]) -> None:
    answer = desk.user.get(f"{PATH}/EURUSD", **query)
    assert problem(answer) == (422, "invalid")
    assert {error["field"] for error in answer.json()["errors"]} == set(query)


@pytest.mark.parametrize("name", ["a:b", "E" * 33, "EUR USD", "%00"])
def test_what_is_no_instrument_is_404(desk: Desk, name: str) -> None:
    assert problem(desk.user.get(f"{PATH}/{name}")) == (404, "not_found")


def test_the_name_of_an_instrument_may_hold_a_slash(desk: Desk) -> None:
    with working(desk, get_candles=terminal(1)):
        for path in ("BTC%2FUSD", "BTC/USD", "US500.%23"):
            assert desk.user.get(f"{PATH}/{path}").status_code == 200
    assert [job["input_data"]["instrument"] for job in desk.taken] == ["BTC/USD", "US500.#"]


@pytest.mark.parametrize(
    "output,field",
    [
        ({"candles": None}, "candles"),
        ({"candles": [{**candle(0), "high": "NaN"}]}, "candles.0.high"),
        ({"candles": [candle(0), {**candle(1), "time": -1}]}, "candles.1.time"),
        ({"candles": [{"time": 1}] * 5000}, "candles.0.open"),
    ],
)
def test_nonsense_is_502_and_not_kept(desk: Desk, output: Any, field: str) -> None:
    with working(desk, get_candles=completed(output)):
        answers = [desk.user.get(f"{PATH}/EURUSD") for _ in range(2)]
    assert {problem(answer) for answer in answers} == {(502, "agent_failed")}
    assert answers[0].json()["errors"][0]["field"] == field


def test_an_unknown_instrument_is_what_the_agent_says(desk: Desk) -> None:
    with working(desk, get_candles=refused("unknown_symbol", "no symbol NONE")):
        answer = desk.user.get(f"{PATH}/NONE")
    assert problem(answer) == (502, "agent_failed")
    assert answer.json()["error_code"] == "unknown_symbol"


def test_candles_in_any_order_are_told_in_theirs(desk: Desk) -> None:
    backwards = completed({"candles": [candle(n) for n in (2, 0, 1)]})
    with working(desk, get_candles=backwards):
        found = desk.user.get(f"{PATH}/EURUSD").json()
    assert found == [candle(n) for n in range(3)]


def test_what_somebody_else_wrote_there_is_a_miss(desk: Desk, store: redis.Redis) -> None:
    for text in ("", "no JSON", "7", "[]", '["x", 7]'):
        store.set(f"candles:{desk.agent.agent_id}:EURUSD:M1", text)
        with working(desk, get_candles=terminal(3)):
            answer = desk.user.get(f"{PATH}/EURUSD")
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "miss")


def test_without_redis_every_call_asks_the_agent(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        desk = new_desk(service)
        own.kill()
        with working(desk, get_candles=terminal(3)):
            answers = [desk.user.get(f"{PATH}/EURUSD") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "miss"]
        assert len(desk.taken) == 2


def test_candles_without_an_agent_are_503(service: Service) -> None:
    offline = new_desk(service, alive=False)
    assert problem(offline.user.get(f"{PATH}/EURUSD")) == (503, "agent_offline")

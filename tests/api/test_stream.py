"""BK5's stream with C10, C11, C29, C32 and spec 5.7: real clients, a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection

from api import tokens
from api.embedded import EmbeddedValkey
from tests.api.watching import (
    PAIR,
    address,
    code,
    counted,
    dial,
    heard,
    next_message,
    price,
    push,
    push_all,
    raw,
    refused,
    say,
    watch,
)
from tests.api.world import (
    PATIENCE,
    PATIENT,
    SECRET,
    Agent,
    Service,
    User,
    server_folder,
    serving,
    until,
)

OURS = "https://app.example.org"


@pytest.fixture(scope="module")
def service(platform_url: str, valkey: EmbeddedValkey) -> Iterator[Service]:
    with serving(platform_url, valkey.url, PATIENT, CORS_ORIGINS=OURS) as running:
        yield running


@pytest.fixture
def store(valkey: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url)


def short(user: User, seconds: float) -> str:
    """Return a token of the user's that ends soon."""
    return tokens.issue(SECRET, user.user_id, "a@example.org", seconds)


# What the source document asks for


def test_bk5_the_last_known_price_comes_at_once(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    with watch(owner) as client:
        message = heard(client)
    assert message.keys() == {"type", "instrument", "data", "snapshot"}
    assert (message["type"], message["instrument"], message["snapshot"]) == ("tick", PAIR, True)
    assert message["data"].keys() == {"bid", "ask", "ts"}
    assert message["data"]["bid"] == 1.1


def test_bk5_an_update_comes_after_a_push(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    with watch(owner) as client:
        heard(client)
        push(agent, 1.2)
        message = heard(client)
    assert message.keys() == {"type", "instrument", "data"}
    assert message["data"]["bid"] == 1.2


def test_bk5_two_clients_get_the_same_tick(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    with watch(owner) as one, watch(owner) as other:
        heard(one), heard(other)
        push(agent, 1.2)
        assert heard(one) == heard(other)


def test_r51_who_leaves_is_forgotten(service: Service, owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    until(lambda: counted(service, "clients") == 0)  # those of the test before have left
    with watch(owner) as client:
        heard(client)
        assert counted(service, "clients") == 1
    until(lambda: counted(service, "clients") == 0)


def test_r87_one_connection_watches_more_instruments(owner: User, agent: Agent) -> None:
    push_all(agent, {name: {"bid": 2, "ask": 3} for name in (PAIR, "XAUUSD.m", "BTC/USD")})
    with watch(owner) as client:
        assert price(client) == (PAIR, 2)
        say(client, action="subscribe", instruments=["XAUUSD.m", PAIR, "BTC/USD"])
        answer = {"type": "subscribed", "instruments": ["XAUUSD.m", PAIR, "BTC/USD"]}
        assert heard(client) == answer
        # What was watched already has been told already.
        assert {price(client), price(client)} == {("XAUUSD.m", 2), ("BTC/USD", 2)}
        say(client, action="unsubscribe", instruments=[PAIR])
        assert heard(client) == {"type": "unsubscribed", "instruments": [PAIR]}
        push(agent, 4)
        push(agent, 4, "XAUUSD.m")
        assert price(client) == ("XAUUSD.m", 4)


def test_an_instrument_with_a_slash_is_in_the_path(owner: User, agent: Agent) -> None:
    push(agent, 1.5, "BTC/USD")
    with watch(owner, "BTC/USD") as client:
        assert price(client) == ("BTC/USD", 1.5)


# Who may connect


def test_c29_the_token_as_a_subprotocol(service: Service, owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    offered: Any = ["bearer", owner.token]
    with dial(address(service), subprotocols=offered) as client:
        assert client.subprotocol == "bearer"
        assert price(client) == (PAIR, 1.1)


def test_c29_the_token_in_the_first_message(service: Service, owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    with dial(address(service)) as client:
        say(client, action="auth", token=owner.token)
        assert price(client) == (PAIR, 1.1)


def test_r48_wrong_tokens_are_closed_with_4001(service: Service, owner: User) -> None:
    for token in ("wrong", short(owner, -1), owner.token + "x"):
        assert refused(dial(address(service, token=token))) == 4001
    offered: Any = ["bearer", "wrong"]
    assert refused(dial(address(service), subprotocols=offered)) == 4001
    with dial(address(service)) as client:
        say(client, action="auth", token="wrong")
        assert code(client) == 4001


def test_a_line_that_is_too_long_is_cut_off(owner: User) -> None:
    with pytest.raises(InvalidMessage), dial(address(owner.service, token="x" * 9000)):
        pass


def test_the_first_message_is_the_token(service: Service) -> None:
    with dial(address(service)) as client:
        say(client, action="subscribe", instruments=[PAIR])
        assert code(client) == 4001


def test_c29_a_token_that_expires_closes_with_4001(owner: User) -> None:
    assert refused(dial(address(owner.service, token=short(owner, 2)))) == 4001


def test_a_newer_token_keeps_the_connection(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    first = time.time() + 8
    with dial(address(owner.service, token=short(owner, 8))) as client:
        heard(client)
        say(client, action="auth", token=owner.token)
        assert heard(client) == {"type": "authenticated"}
        until(lambda: time.time() > first + 2)
        push(agent, 1.2)
        while price(client) != (PAIR, 1.2):
            pass  # that the one before has become old


def test_a_newer_token_is_the_same_users(owner: User) -> None:
    with watch(owner) as client:
        say(client, action="auth", token=owner.service.user().token)
        assert code(client) == 4001


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", f"{OURS}.evil.org"])
def test_foreign_pages_may_not_connect(owner: User, origin: str) -> None:
    url = address(owner.service, token=owner.token)
    with pytest.raises(InvalidStatus) as answer, dial(url, origin=origin):
        pass
    assert answer.value.response.status_code == 403


def test_our_pages_may_connect(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    for origin in (OURS, owner.service.address):
        with dial(address(owner.service, token=owner.token), origin=origin) as client:
            assert price(client) == (PAIR, 1.1)


# Whose prices


def test_c9_users_see_their_own_brokers_prices(owner: User, agent: Agent) -> None:
    stranger = owner.service.user()
    other = stranger.pair()
    with watch(owner) as ours, watch(stranger) as theirs:
        for number in range(1, 6):
            push(other, number + 0.5)
            push(agent, number)
            assert price(ours) == (PAIR, number)
            assert price(theirs) == (PAIR, number + 0.5)


def test_an_account_has_its_own_agent(owner: User) -> None:
    made = [
        owner.post(
            "/api/v1/broker-connections",
            {"name": name, "broker": "b", "server": "s", "login": name, "account_currency": "EUR"},
        )
        for name in ("1001", "1002")
    ]
    assert all(answer.status_code == 201 for answer in made), [m.text for m in made]
    accounts = [answer.json()["id"] for answer in made]
    agents = [owner.pair(broker_connection_id=account) for account in accounts]
    for bid, agent in enumerate(agents, 1):
        push(agent, bid)
    for bid, account in enumerate(accounts, 1):
        with watch(owner, broker_connection_id=account) as client:
            assert price(client) == (PAIR, bid)


def test_anothers_account_shows_nothing(owner: User, agent: Agent) -> None:
    push(agent, 1.1)
    nobodys = str(owner.user_id)
    with watch(owner, broker_connection_id=nobodys) as client:
        assert heard(client) == {"type": "error", "code": "no_agent"}


def test_another_agents_prices_follow_a_revocation(owner: User) -> None:
    first, second = owner.pair(), owner.pair()
    first.post(f"{first.path}/heartbeat", {"status": "online", "metrics": {}})
    push(first, 1)
    with watch(owner) as client:
        assert price(client) == (PAIR, 1)
        push(second, 2)
        push(first, 3)
        assert price(client) == (PAIR, 3)
        owner.delete(first.path)
        message = heard(client)
        assert (message["data"]["bid"], message["snapshot"]) == (2, True)
        push(second, 4)
        assert price(client) == (PAIR, 4)
        owner.delete(second.path)
        assert heard(client) == {"type": "error", "code": "no_agent"}


def test_an_agent_that_is_paired_later_is_seen(owner: User) -> None:
    with watch(owner) as client:
        assert heard(client) == {"type": "error", "code": "no_agent"}
        push(owner.pair(), 5)
        assert heard(client)["data"]["bid"] == 5


def test_a_new_agent_is_announced(owner: User, store: redis.Redis) -> None:
    with store.pubsub(ignore_subscribe_messages=True) as announced:  # type: ignore[no-untyped-call]
        announced.subscribe("agents:changed")
        announced.get_message(timeout=PATIENCE)
        agent = owner.pair()
        told = iter(announced.listen())
        assert str(agent.agent_id) in (message["data"].decode() for message in told)


def test_shared_prices_are_for_those_without_an_agent(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url, PRICE_SCOPE="shared") as service:
        guest, owner = service.user(), service.user()
        agent, other = owner.pair(), service.user().pair()
        push(agent, 1)
        push(other, 2)
        with watch(guest) as theirs, watch(owner) as own:
            assert price(theirs) == (PAIR, 2)
            assert price(own) == (PAIR, 1)


# What is refused


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        '{"action": "dance"}',
        '{"action": "subscribe"}',
        '{"action": "subscribe", "instruments": []}',
        '{"action": "subscribe", "instruments": "EURUSD"}',
        '{"action": "subscribe", "instruments": ["EUR USD"]}',
        '{"action": "subscribe", "instruments": [7]}',
        '{"action": "auth", "token": 7}',
        json.dumps({"action": "subscribe", "instruments": ["E"], "more": "x" * 4096}),
        b"\x00\x01",
    ],
)
def test_bad_messages_are_closed_with_4400(owner: User, message: str | bytes) -> None:
    with watch(owner) as client:
        client.send(message)
        assert code(client) == 4400


def test_too_many_messages_are_closed_with_4400(owner: User) -> None:
    with watch(owner) as client:
        with suppress(ConnectionClosed):  # it may be closed before all of them are said
            for _ in range(40):
                say(client, action="unsubscribe", instruments=["X"])
        assert code(client) == 4400


@pytest.mark.parametrize("name", ["EUR USD", "E" * 33, "a:b", ""])
def test_names_that_no_instrument_has_are_closed_with_4400(owner: User, name: str) -> None:
    assert refused(watch(owner, name)) == 4400


def test_an_account_is_a_uuid(owner: User) -> None:
    assert refused(watch(owner, broker_connection_id="mine")) == 4400


def test_the_129th_instrument_is_closed_with_4029(owner: User) -> None:
    with watch(owner) as client:
        assert heard(client)["type"] == "error"
        say(client, action="subscribe", instruments=[f"S{n}" for n in range(127)])
        assert heard(client)["type"] == "subscribed"
        say(client, action="subscribe", instruments=["S0", "S1", PAIR])
        assert heard(client)["type"] == "subscribed"
        say(client, action="subscribe", instruments=["ONE.MORE"])
        with pytest.raises(ConnectionClosed) as closed:
            heard(client)  # it is not told that it has subscribed
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 4029


def test_clients_above_the_limit_are_closed_with_1013(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url, STREAM_CLIENTS="2") as service:
        owner = service.user()
        push(owner.pair(), 1)
        with watch(owner) as one, watch(owner) as two:
            heard(one), heard(two)
            assert refused(watch(owner)) == 1013
            assert counted(service, "clients_refused_total") == 1
        until(lambda: counted(service, "clients") == 0)
        with watch(owner) as again:
            assert price(again) == (PAIR, 1)


# By the clock


def test_silence_is_broken_and_who_says_nothing_is_closed(service: Service, owner: User) -> None:
    with ThreadPoolExecutor() as pool, watch(owner) as client, dial(address(service)) as mute:
        assert heard(client)["type"] == "error"
        closed = pool.submit(code, mute)
        message = next_message(client)
        assert message.keys() == {"type", "ts"}
        assert message["type"] == "heartbeat"
        assert closed.result() == 4001


def test_old_prices_are_said_to_be_stale(owner: User, agent: Agent, store: redis.Redis) -> None:
    key = f"prices:{agent.agent_id}:{PAIR}"
    store.set(key, json.dumps({"bid": 1, "ask": 2, "ts": 1_700_000_000_000}))
    with watch(owner) as client:
        message = heard(client)
        assert (message["snapshot"], message["stale"]) == (True, True)
        push(agent, 2)
        assert "stale" not in heard(client)
        now = time.time_ns() // 1_000_000
        store.publish(key, json.dumps({"bid": 3, "ask": 4, "ts": now - 4_000}))
        assert "stale" not in heard(client)
        message = heard(client)
        assert (message["stale"], message["data"]["bid"]) == (True, 3)
        store.publish(key, "nonsense")
        push(agent, 4)
        assert price(client) == (PAIR, 4)


# What the agents are told


def test_c32_what_is_watched_is_written_for_the_agent(
    owner: User, agent: Agent, store: redis.Redis
) -> None:
    def watched() -> set[bytes]:
        now = time.time_ns() // 1_000_000
        found: Any = store.zrangebyscore(f"interest:{agent.agent_id}", now, "+inf")
        return set(found)

    with watch(owner) as client, watch(owner):
        until(lambda: watched() == {PAIR.encode()})
        say(client, action="subscribe", instruments=["XAUUSD"])
        until(lambda: watched() == {PAIR.encode(), b"XAUUSD"})
        say(client, action="unsubscribe", instruments=["XAUUSD", PAIR])
        until(lambda: watched() == {PAIR.encode()})
    until(lambda: watched() == set())


# Faults


def test_a_redis_restart_is_a_gap_and_nothing_else(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        owner = service.user()
        agent = owner.pair()
        push(agent, 1)
        with watch(owner) as client, watch(owner, "XAUUSD") as quiet:
            assert price(client) == (PAIR, 1)
            own.kill()
            own.restart()
            message = heard(client)
            assert (message["data"]["bid"], message["snapshot"], message["gap"]) == (1, True, True)
            until(lambda: push_all(agent, {PAIR: {"bid": 2, "ask": 3}}).status_code == 200)
            assert price(client) == (PAIR, 2)
            push(agent, 7, "XAUUSD")
            message = heard(quiet)  # it knew no price, so it missed none
            assert (message["data"]["bid"], "gap" in message) == (7, False)
        assert counted(service, "gaps_total") == 1


def test_a_redis_that_hangs_is_a_gap_and_nothing_else(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        owner = service.user()
        agent = owner.pair()
        push(agent, 1)
        info: Any = redis.Redis.from_url(own.url).info("server")
        with watch(owner) as client:
            assert price(client) == (PAIR, 1)
            os.kill(info["process_id"], signal.SIGSTOP)
            try:
                until(lambda: "prices are not heard of" in service.printed())
                assert counted(service, "clients") == 1
            finally:
                os.kill(info["process_id"], signal.SIGCONT)
            while "gap" not in (message := heard(client)):
                pass
            assert message["data"]["bid"] == 1
            until(lambda: push_all(agent, {PAIR: {"bid": 2, "ask": 3}}).status_code == 200)
            assert price(client) == (PAIR, 2)


def test_a_price_that_came_during_an_outage_is_told_after_it(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        owner = service.user()
        agent = owner.pair()
        push(agent, 1)
        with watch(owner) as client:
            heard(client)
            store = redis.Redis.from_url(own.url)
            newer = json.dumps({"bid": 2, "ask": 3, "ts": time.time_ns() // 1_000_000})
            with store.pipeline(transaction=True) as pipeline:
                pipeline.client_kill_filter(_type="pubsub")
                pipeline.set(f"prices:{agent.agent_id}:{PAIR}", newer)
                pipeline.execute()
            message = heard(client)
            assert (message["data"]["bid"], message["gap"]) == (2, True)


def test_a_client_comes_while_redis_is_away(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        owner = service.user()
        agent = owner.pair()
        own.kill()
        with watch(owner) as client:
            until(lambda: counted(service, "clients") == 1)
            own.restart()
            until(lambda: push_all(agent, {PAIR: {"bid": 2, "ask": 3}}).status_code == 200)
            assert price(client) == (PAIR, 2)


def test_sigterm_closes_with_1001(platform_url: str, valkey: EmbeddedValkey) -> None:
    with serving(platform_url, valkey.url) as service:
        owner = service.user()
        push(owner.pair(), 1)
        with ExitStack() as stack:
            clients = [stack.enter_context(watch(owner)) for _ in range(5)]
            for client in clients:
                heard(client)
            # One that has not said who it is.
            clients.append(stack.enter_context(dial(address(service))))
            stack.enter_context(raw(owner))  # it never answers the close
            until(lambda: counted(service, "clients") == 7)
            service.stop()
            assert service.process.returncode == -signal.SIGTERM
            assert [code(client) for client in clients] == [1001] * 6


def test_no_secret_is_in_the_log(platform_url: str, valkey: EmbeddedValkey) -> None:
    with serving(platform_url, valkey.url) as service:
        owner = service.user()
        push(owner.pair(), 1)
        offered: Any = ["bearer", owner.token]
        clients: list[ClientConnection] = [
            watch(owner),
            dial(address(service), subprotocols=offered),
            dial(address(service, token="an-invalid-token")),
        ]
        for path in ("/ws/prices/EURUSD", "/ws/nowhere"):
            url = f"{service.address.replace('http', 'ws')}{path}?token={owner.token}"
            with pytest.raises(InvalidStatus), dial(url, origin="https://evil.example.org"):
                pass
        for client in clients:
            with client:
                pass
        until(lambda: counted(service, "clients") == 0)
        printed = service.stop()
    assert "WEBSOCKET /ws/prices/{instrument} 4001" in printed
    assert owner.token not in printed
    assert "an-invalid-token" not in printed
    assert "token=" not in printed


def test_the_client_of_the_page(owner: User, agent: Agent) -> None:
    page = Path("docs/price-stream.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    push(agent, 1.25)
    environment = {**os.environ, "URL": address(owner.service), "TOKEN": owner.token}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        assert client.stdout.readline().startswith(f"{PAIR} {{'bid': 1.25,")
        push(agent, 1.5)
        assert client.stdout.readline().startswith(f"{PAIR} {{'bid': 1.5,")
        client.kill()

"""Tokens by the keys of a JWKS, shown by a real HTTP server: C30, rotation, outages."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.embedded import EmbeddedValkey
from api.errors import Problem
from api.settings import Settings
from api.tokens import JWKS_PAUSE, JWKS_SECONDS, Tokens
from tests.api.test_users import SETTINGS, asks, claims
from tests.api.world import User, problem, serving


class Issuer:
    """Somebody who issues tokens and shows the keys that verify them."""

    def __init__(self) -> None:
        self.fetched = 0
        self.trouble = ""
        self.asked, self.open = threading.Event(), threading.Event()
        self.open.set()  # while it is not, whoever asks waits
        self.private = {"one": ec.generate_private_key(ec.SECP256R1())}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                issuer.asked.set()
                issuer.open.wait(30)
                if issuer.trouble == "hangs up":
                    return
                body = b"{}" if issuer.trouble == "no JWKS" else json.dumps(issuer.shown()).encode()
                self.send_response(503 if issuer.trouble == "503" else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def shown(self) -> Any:
        keys = [
            {**jwt.algorithms.ECAlgorithm.to_jwk(k.public_key(), as_dict=True), "kid": kid}
            for kid, k in self.private.items()
        ]
        rsa_key = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
        octets = {"kty": "oct", "kid": "octets", "k": "c2VjcmV0" * 8}
        return {"keys": [*keys, {**rsa_key, "kid": "rsa"}, octets]}

    def token(self, kid: str, key: Any, algorithm: str) -> str:
        return jwt.encode(claims(), key, algorithm, headers={"kid": kid})

    def signed(self, kid: str) -> str:
        """Return a token by a key of the issuer's; a new key where there is none of that id."""
        key = self.private.setdefault(kid, ec.generate_private_key(ec.SECP256R1()))
        return self.token(kid, key, "ES256")


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever)
    thread.start()
    yield issuer
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


def test_c30_jwks_with_es256_and_rs256(
    platform_url: str, valkey: EmbeddedValkey, issuer: Issuer
) -> None:
    variables = {"SUPABASE_JWKS_URL": issuer.url, "SUPABASE_JWT_SECRET": ""}
    with serving(platform_url, valkey.url, **variables) as service:
        one = issuer.private["one"]
        assert asks(service, issuer.token("one", one, "ES256")) == 200
        assert asks(service, issuer.token("rsa", RSA_KEY, "RS256")) == 200
        assert issuer.fetched == 1
        stranger = ec.generate_private_key(ec.SECP256R1())
        assert asks(service, issuer.token("one", stranger, "ES256")) == 401
        assert asks(service, issuer.token("octets", b"secret" * 8, "HS256")) == 401
        for _ in range(3):  # unknown ids do not become a flood of fetches
            assert asks(service, issuer.token("two", one, "ES256")) == 401
        assert issuer.fetched == 1


def test_c30_keys_that_cannot_be_fetched_are_a_503(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    variables = {"SUPABASE_JWKS_URL": "http://127.0.0.1:9/jwks", "SUPABASE_JWT_SECRET": ""}
    with serving(platform_url, valkey.url, **variables) as service:
        key = ec.generate_private_key(ec.SECP256R1())
        token = jwt.encode(claims(), key, "ES256", headers={"kid": "one"})
        answer = User(service, uuid4(), token).get(SETTINGS)
    assert problem(answer) == (503, "tokens_unavailable")


@pytest.mark.parametrize(
    "shown", [{}, [], {"keys": 1}, {"keys": [1]}, {"keys": [{"kid": "one", "kty": "RSA", "n": 1}]}]
)
def test_c30_what_is_no_jwks_is_a_503(
    platform_url: str,
    valkey: EmbeddedValkey,
    issuer: Issuer,
    shown: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer, "shown", lambda: shown)
    variables = {"SUPABASE_JWKS_URL": issuer.url, "SUPABASE_JWT_SECRET": ""}
    with serving(platform_url, valkey.url, **variables) as service:
        token = issuer.token("one", issuer.private["one"], "ES256")
        answer = User(service, uuid4(), token).get(SETTINGS)
        assert problem(answer) == (503, "tokens_unavailable")


# -- keys that change


@dataclass
class Time:
    """A clock that stands still."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Checked:
    """Tokens that are checked by the issuer's keys, at a time of the test's choice."""

    issuer: Issuer
    tokens: Tokens
    time: Time

    async def lets_in(self, token: str) -> bool:
        try:
            await self.tokens.user(token)
        except Problem as problem:
            if problem.code != "token_invalid":
                raise
            return False
        return True


def checking(issuer: Issuer, course: Callable[[Checked], Awaitable[None]]) -> None:
    time = Time()
    settings = Settings(database_url="-", redis_url="-", jwks_url=issuer.url)

    async def run() -> None:
        await course(Checked(issuer, Tokens(settings, time), time))

    asyncio.run(run())


def test_c30_a_token_that_was_verified_is_refused_when_its_key_is_withdrawn(
    issuer: Issuer,
) -> None:
    async def course(checked: Checked) -> None:
        token = issuer.signed("one")
        user = await checked.tokens.user(token)
        assert await checked.tokens.user(token) is user  # not verified again
        issuer.private["one"] = ec.generate_private_key(ec.SECP256R1())
        assert await checked.lets_in(token)
        checked.time.now += JWKS_SECONDS + 1
        assert not await checked.lets_in(token)

    checking(issuer, course)


def test_c30_a_new_key_is_fetched_when_its_first_token_comes(issuer: Issuer) -> None:
    async def course(checked: Checked) -> None:
        assert await checked.lets_in(issuer.signed("one"))
        checked.time.now += JWKS_PAUSE
        assert await checked.lets_in(issuer.signed("two"))
        assert await checked.lets_in(issuer.signed("one"))
        assert issuer.fetched == 2

    checking(issuer, course)


def test_c30_unknown_keys_are_looked_for_once_in_ten_seconds(issuer: Issuer) -> None:
    async def course(checked: Checked) -> None:
        stranger = ec.generate_private_key(ec.SECP256R1())
        for fetched in (1, 2, 3):
            unknown = [issuer.token(str(n), stranger, "ES256") for n in range(20)]
            assert not any(await asyncio.gather(*map(checked.lets_in, unknown)))
            assert issuer.fetched == fetched
            checked.time.now += JWKS_PAUSE - 0.1
            assert not await checked.lets_in(unknown[0])
            assert issuer.fetched == fetched
            checked.time.now += 0.1

    checking(issuer, course)


@pytest.mark.parametrize("trouble", ["503", "hangs up", "no JWKS"])
def test_c30_keys_go_on_while_the_endpoint_is_away(issuer: Issuer, trouble: str) -> None:
    async def course(checked: Checked) -> None:
        assert await checked.lets_in(issuer.signed("one"))
        issuer.trouble = trouble
        for fetched in (2, 3, 4):
            checked.time.now += JWKS_SECONDS + 1
            assert await checked.lets_in(issuer.signed("one"))
            assert not await checked.lets_in(issuer.signed("two"))
            assert issuer.fetched == fetched
        issuer.trouble = ""
        checked.time.now += JWKS_PAUSE
        assert await checked.lets_in(issuer.signed("two"))

    checking(issuer, course)


def test_c30_who_has_a_known_key_does_not_wait_for_a_slow_endpoint(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tokens.JWKS_TIMEOUT", 60.0)

    async def course(checked: Checked) -> None:
        assert await checked.lets_in(issuer.signed("one"))
        issuer.open.clear()
        issuer.asked.clear()
        checked.time.now += JWKS_SECONDS + 1
        first = asyncio.create_task(checked.lets_in(issuer.signed("two")))
        assert await asyncio.to_thread(issuer.asked.wait, 30)
        assert await checked.lets_in(issuer.signed("one"))
        assert not first.done()
        issuer.open.set()
        assert await first

    checking(issuer, course)

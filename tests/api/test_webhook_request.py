"""What a webhook reads of its request: who sends, and a body that never ends."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message, Scope

from api import webhooks


def request(host: str, *messages: Message) -> Request:
    """A request whose body is these messages, and then nothing comes."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0) if left else await asyncio.Future()

    scope: Scope = {"type": "http", "method": "POST", "headers": [], "client": (host, 1)}
    return Request(scope, receive)


@pytest.mark.parametrize(
    "host, source",
    [
        ("52.89.214.238", "52.89.214.238"),
        ("::ffff:52.89.214.238", "52.89.214.238"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("testclient", None),
    ],
)
def test_the_peer_is_named_as_allowed_addresses_are(host: str, source: str | None) -> None:
    assert webhooks._source(request(host)) == source


def test_a_body_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.05)
    part: Message = {"type": "http.request", "body": b"{", "more_body": True}
    assert asyncio.run(webhooks._body(request("127.0.0.1", part))) == (None, False)

"""The agent's HTTP: whom it trusts, through which proxy it goes, what it does not follow."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from forex_agent.client import CALL_SECONDS, Client, Unreachable, patience
from forex_agent.http import exact, proxy_for
from forex_agent.programs import _upload

HOST = "127.0.0.1"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def answering(
    heard: list[bytes], trust: ssl.SSLContext | None = None, *, whole: bool = False
) -> AsyncIterator[int]:
    """Answer every call `{}` and keep its first line, or `whole` head; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heard.append(head if whole else head.partition(b"\r\n")[0])
            if b"/lost" in head:
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def gone(loop: asyncio.AbstractEventLoop, about: dict[str, object]) -> None:
        if not isinstance(about.get("exception"), asyncio.IncompleteReadError):
            loop.default_exception_handler(about)

    asyncio.get_running_loop().set_exception_handler(gone)
    async with await asyncio.start_server(answer, HOST, 0, ssl=trust) as server:
        yield server.sockets[0].getsockname()[1]


async def call(url: str) -> list[int]:
    async with Client(url, {"X-Agent-Key": "k"}) as client:
        return [(await client.call("GET", "/a?b=c")).status for _ in range(2)]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_call_whose_answer_is_lost_is_not_repeated_behind_our_back(method: str) -> None:
    heard: list[bytes] = []

    async def work() -> None:
        async with answering(heard) as port, Client(f"http://{HOST}:{port}", {}) as client:
            await client.call("GET", "/kept")
            with pytest.raises(Unreachable, match="no answer"):
                await client.call(method, "/lost?first=1")

    asyncio.run(work())
    assert heard == [b"GET /kept HTTP/1.1", f"{method} /lost?first=1 HTTP/1.1".encode()]


def test_a_service_may_be_below_a_path() -> None:
    heard: list[bytes] = []

    async def work() -> list[int]:
        async with answering(heard) as port:
            return await call(f"http://{HOST}:{port}/below")

    assert asyncio.run(work()) == [200, 200]
    assert set(heard) == {b"GET /below/a?b=c HTTP/1.1"}


@pytest.mark.parametrize(
    "environ,url,proxy",
    [
        ({}, "http://a.example", None),
        ({"http_proxy": "http://p:1"}, "http://a.example", "http://p:1"),
        ({"http_proxy": "p:1"}, "http://a.example", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "https://a.example", None),
        ({"all_proxy": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "example"}, "https://a.example", None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, "https://a.example", None),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_calls_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    async def work() -> list[int]:
        async with answering(heard) as port:
            monkeypatch.setenv("http_proxy", f"http://{HOST}:{port}")
            return await call("http://service.example")

    assert asyncio.run(work()) == [200, 200]
    assert set(heard) == {b"GET http://service.example/a?b=c HTTP/1.1"}


def test_a_certificate_is_checked_against_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(made_certificate(tmp_path / "own.pem"))

    async def work() -> list[int]:
        async with answering(heard, trust) as port:
            with pytest.raises(Unreachable, match="Certificate"):
                await call(f"https://{HOST}:{port}")
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
            return await call(f"https://{HOST}:{port}")

    assert asyncio.run(work()) == [200, 200]
    assert set(heard) == {b"GET /a?b=c HTTP/1.1"}


def made_certificate(path: Path) -> Path:
    """Write a certificate of this machine that nobody signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    kept = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(kept + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("path", ["a%2Fb?sig=x%2By%3D%7E", "plain?x=1"])
def test_a_url_that_was_signed_stays_as_it_is(path: str) -> None:
    assert str(exact(f"https://files.example/{path}")) == f"https://files.example/{path}"


def test_an_upload_says_no_type_that_its_url_was_not_signed_for() -> None:
    heard: list[bytes] = []

    async def work() -> None:
        async with answering(heard, whole=True) as port:
            await _upload(f"http://{HOST}:{port}/a%2Fb?sig=x", b"a program")

    asyncio.run(work())
    (head,) = heard
    assert head.startswith(b"PUT /a%2Fb?sig=x HTTP/1.1\r\n")
    assert b"content-type" not in head.lower()


def test_a_long_poll_and_a_large_report_have_their_time() -> None:
    assert patience(None, None) == CALL_SECONDS
    assert patience(25, None) > 25
    megabyte = bytes(1_000_000)  # over a line of 100 kbit/s
    assert patience(None, megabyte) > CALL_SECONDS + 80

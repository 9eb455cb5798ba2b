"""Many clients, and clients who do not read: nobody is delayed by another (design 7, F13)."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import wraps

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.embedded import EmbeddedValkey
from tests.api.watching import PAIR, address, counted, push, push_all, raw
from tests.api.world import PATIENCE, PATIENT, Agent, Service, User, serving, until

MASK = b"\x00" * 4
CROWD = 1_000
NAMES = [f"S{n}" for n in range(100)]


def in_loop(test: Callable[[Service], Coroutine[None, None, None]]) -> Callable[[Service], None]:
    """Have a test run in an event loop."""

    @wraps(test)
    def run(service: Service) -> None:
        asyncio.run(test(service))

    return run


@pytest.fixture
def service(
    request: pytest.FixtureRequest, platform_url: str, valkey: EmbeddedValkey
) -> Iterator[Service]:
    """A process of each test's own: its counters begin at 0. It may have limits of its own."""
    with serving(platform_url, valkey.url, {**PATIENT, **getattr(request, "param", {})}) as running:
        yield running


@asynccontextmanager
async def crowd(user: User, size: int) -> AsyncIterator[list[ClientConnection]]:
    """Connect so many clients of the user's, all in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * size)), hard))
    url = address(user.service, token=user.token)
    limit = asyncio.Semaphore(20)

    async def enter() -> ClientConnection:
        async with limit:
            made = connect(url, proxy=None, open_timeout=PATIENCE, compression=None)
            return await stack.enter_async_context(made)

    async with AsyncExitStack() as stack:
        yield await asyncio.gather(*(enter() for _ in range(size)))


@asynccontextmanager
async def slow(user: User) -> AsyncIterator[ClientConnection]:
    """Watch NAMES over a connection that takes little before it is read from."""
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        at = user.service.http.base_url
        small.connect((at.host, at.port))
        url = address(user.service, token=user.token)
        async with connect(
            url, sock=small, proxy=None, compression=None, max_queue=1, ping_interval=None
        ) as client:
            await client.send(json.dumps({"action": "subscribe", "instruments": NAMES}))
            yield client


async def hears(client: ClientConnection, bid: float) -> None:
    """Return when the client is told this price."""
    async with asyncio.timeout(PATIENCE):
        while json.loads(await client.recv()).get("data", {}).get("bid") != bid:
            pass


async def tick(client: ClientConnection) -> str | bytes:
    """Return the next price, as it came; a client that waits for long is told that we live."""
    async with asyncio.timeout(PATIENCE):
        while json.loads(came := await client.recv())["type"] != "tick":
            pass
    return came


async def all_hear(clients: list[ClientConnection], bid: float) -> None:
    await asyncio.gather(*(hears(client, bid) for client in clients))


def subscribe(stalled: socket.socket, names: list[str]) -> None:
    """Say it on a socket from which nobody reads."""
    said = json.dumps({"action": "subscribe", "instruments": names}).encode()
    stalled.sendall(b"\x81\xfe" + len(said).to_bytes(2, "big") + MASK + said)


def stuff(agent: Agent, names: list[str], until_counter: str) -> None:
    """Push prices until the counter says that somebody does not take them."""
    for number in itertools.count(1):
        push_all(agent, {name: {"bid": number, "ask": number} for name in names})
        if counted(agent.service, until_counter):
            return


@in_loop
async def test_one_stalled_client_beside_two_hundred(service: Service) -> None:
    owner = service.user()
    agent = owner.pair()
    push(agent, 1)
    async with crowd(owner, 200) as healthy:
        with closing(raw(owner)) as stalled:
            subscribe(stalled, NAMES)
            await asyncio.to_thread(stuff, agent, NAMES, "prices_replaced_total")
            # It takes no more; for it the newest prices wait, for the others nothing does.
            for bid in (2.0, 3.0, 4.0):
                await asyncio.to_thread(push, agent, bid)
                await all_hear(healthy, bid)
            await asyncio.to_thread(stuff, agent, NAMES, "slow_clients_closed_total")
            await asyncio.to_thread(until, lambda: counted(service, "clients") == 200)
        await asyncio.to_thread(push, agent, 5.0)
        await all_hear(healthy, 5.0)
        assert counted(service, "slow_clients_closed_total") == 1


@in_loop
async def test_a_slow_client_that_reads_again_is_told_why(service: Service) -> None:
    owner = service.user()
    agent = owner.pair()
    async with slow(owner) as client:
        await asyncio.to_thread(stuff, agent, NAMES, "slow_clients_closed_total")
        with pytest.raises(ConnectionClosed) as closed:
            await hears(client, 0)
    # One that begins to read too late has been cut off meanwhile.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 4008


@pytest.mark.parametrize("service", [{"api.stream.client.SEND_SECONDS": 60.0}], indirect=True)
@in_loop
async def test_a_client_that_reads_slowly_gets_the_newest(service: Service) -> None:
    """It is not cut off as long as it takes something; what it missed was older."""
    owner = service.user()
    agent = owner.pair()
    newest = {name: {"bid": 1e6, "ask": 1e6} for name in NAMES}
    async with slow(owner) as client:
        await asyncio.to_thread(stuff, agent, NAMES, "prices_replaced_total")
        await asyncio.to_thread(push_all, agent, newest)
        missing = set(NAMES)
        async with asyncio.timeout(PATIENCE):
            while missing:
                message = json.loads(await client.recv())
                if message.get("data", {}).get("bid") == 1e6:
                    missing.discard(message["instrument"])
    assert counted(service, "slow_clients_closed_total") == 0


@in_loop
async def test_a_thousand_clients_get_the_same_tick(service: Service) -> None:
    owner = service.user()
    agent = owner.pair()
    push(agent, 1)
    async with crowd(owner, CROWD) as clients:
        await all_hear(clients, 1)
        await asyncio.to_thread(push, agent, 2)
        heard = await asyncio.gather(*(tick(client) for client in clients))
        assert len(set(heard)) == 1
        assert json.loads(heard[0])["data"]["bid"] == 2
        assert json.loads(heard[0])["instrument"] == PAIR
        assert counted(service, "clients") == CROWD
        # Half of them go at once; the others stay served.
        await asyncio.gather(*(client.close() for client in clients[::2]))
        await asyncio.to_thread(push, agent, 3)
        await all_hear(clients[1::2], 3)
    await asyncio.to_thread(until, lambda: counted(service, "clients") == 0)

"""What the commands do: serve, with servers of its own if need be; migrate; add users."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from api import calls, errors, schema, tokens
from api.database import Connection, as_service, create_pool
from api.embedded import EmbeddedValkey
from api.openapi import document
from api.routes import ENDPOINTS
from api.server import serve
from api.settings import Settings
from jobengine.database import given_or_embedded
from jobengine.settings import Settings as LibrarySettings

__all__ = [
    "Refused",
    "UnknownUser",
    "add_user",
    "data_folder",
    "database",
    "migrate",
    "openapi",
    "redis_server",
    "say",
    "serve",
    "token",
    "up",
    "verify",
]

T = TypeVar("T")
SECRET_FILE = "jwt-secret"  # noqa: S105 - a file's name


class Refused(Exception):
    """The command cannot do what was asked."""


class UnknownUser(Refused):
    """There is no user of that address."""


def up(
    environment: Mapping[str, str], listen: Mapping[str, str], *, simulated: bool = False
) -> None:
    """Serve with all that is needed: servers that the environment does not name are started.

    `simulated` adds a user with a demo account, and the account's agent (`api.simulated`).
    """
    signal.signal(signal.SIGTERM, _terminated)  # until uvicorn has its own handler
    with database(environment) as database_url, redis_server(environment) as redis_url:
        asyncio.run(migrate(database_url))
        settings = Settings.from_environment(
            {
                **environment,
                **listen,
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "SUPABASE_JWT_SECRET": (secret := _secret(environment)),
            }
        )
        say(
            f"data and the token secret: {data_folder(environment)}\n"
            "a token, in another terminal: python -m api user token you@example.org"
        )
        told = {"DATABASE_URL": database_url, "SUPABASE_JWT_SECRET": secret}
        serve(settings, _beside({**environment, **told}) if simulated else None)


def _beside(environment: Mapping[str, str]) -> Callable[[str], AbstractContextManager[None]]:
    try:
        from api.simulated import beside  # noqa: PLC0415 - only this needs the agent
    except ImportError as error:
        raise Refused(f"--simulated needs the agent, from a checkout: {error}") from error
    return beside(environment)


def _terminated(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def database(environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """Give DATABASE_URL, or a server of ours; a second process joins that of the first."""
    return given_or_embedded(LibrarySettings.from_environment(environment), say)


@contextlib.contextmanager
def redis_server(environment: Mapping[str, str]) -> Iterator[str]:
    if url := environment.get("REDIS_URL"):
        yield url
        return
    with EmbeddedValkey(data_folder(environment)) as server:
        yield server.url


def _secret(environment: Mapping[str, str]) -> str:
    """Return the secret that the environment names, or the data folder's; none beside a JWKS."""
    if given := environment.get("SUPABASE_JWT_SECRET"):
        return given
    return "" if environment.get("SUPABASE_JWKS_URL") else kept_secret(data_folder(environment))


def data_folder(environment: Mapping[str, str]) -> Path:
    return LibrarySettings.from_environment(environment).data_dir.resolve()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - commands speak to people


def kept_secret(data: Path) -> str:
    """Return the secret of this data folder, made on the first call; only its user reads it."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / SECRET_FILE
    if not path.exists():
        new = path.with_name(f"{SECRET_FILE}.{secrets.token_hex(4)}")
        new.touch(0o600)
        new.write_text(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(new, path)  # whole or not there, and the first one stays
        new.unlink()
    return path.read_text()


async def migrate(database_url: str) -> None:
    """Bring the database to this engine and platform."""
    async with await _connected(database_url) as conn:
        await schema.install(conn)


async def verify(database_url: str) -> list[str]:
    """Name every difference between the database and this version of engine and platform."""
    async with await _connected(database_url) as conn:
        return await schema.verify(conn)


async def _connected(database_url: str) -> AsyncConnection[Any]:
    """Return a connection; `Refused` says at once why there is none, where a pool would try on."""
    try:
        return await AsyncConnection.connect(database_url)
    except psycopg.Error as error:
        raise Refused(f"cannot connect to the database: {error}".strip()) from error


def openapi() -> dict[str, Any]:
    """Return the description of the interface."""
    return document(ENDPOINTS, version("jobengine"))


def add_user(environment: Mapping[str, str], email: str) -> UUID:
    """Add a user; `Refused` where there is one of that address, or others keep the users."""
    with database(environment) as url:
        return asyncio.run(_on(url, partial(calls.user_add, email=email)))


def token(environment: Mapping[str, str], email: str, hours: float) -> str:
    """Return a token for the user of that address."""
    secret = _secret(environment)
    if not secret:
        raise Refused("tokens come from whoever keeps the keys of SUPABASE_JWKS_URL")
    with database(environment) as url:
        user_id = asyncio.run(_on(url, partial(calls.user_find, email=email)))
    if user_id is None:
        raise UnknownUser(f"there is no user {email}: python -m api user add {email}")
    return tokens.issue(secret, user_id, email, hours * 3600)


async def _on(url: str, call: Callable[[Connection], Awaitable[T]]) -> T:
    """Do the call as the service."""
    await (await _connected(url)).close()
    try:
        async with create_pool(url, 2) as pool, as_service(pool) as conn:
            return await call(conn)
    except psycopg.Error as error:
        raise Refused(_words(error)) from error


def _words(error: psycopg.Error) -> str:
    """Return what a refusal means: the service's words for its code, or the rule that is broken."""
    problem = errors.from_error(error)
    if problem is None or problem.code == "invalid":
        return error.diag.message_primary or str(error)
    return problem.title

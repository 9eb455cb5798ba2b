from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from api.embedded import EmbeddedValkey
from tests.api.world import PATIENT, Agent, Service, User, server_folder, serving
from tests.conftest import fresh_database
from tests.sql.platform.helpers import install, make_roles


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """One Valkey per test process."""
    with server_folder() as folder, EmbeddedValkey(folder) as server:
        yield server


@pytest.fixture(scope="module")
def platform_url(admin_url: str, app_role: str) -> Iterator[str]:
    """A database of this module's own, with engine and platform installed."""
    make_roles(admin_url, app_role)
    with fresh_database(admin_url) as url:
        asyncio.run(install(url))
        yield url


@pytest.fixture(scope="module")
def service(platform_url: str, valkey: EmbeddedValkey) -> Iterator[Service]:
    with serving(platform_url, valkey.url, PATIENT) as running:
        yield running


@pytest.fixture
def owner(service: Service) -> User:
    return service.user()


@pytest.fixture
def agent(owner: User) -> Agent:
    return owner.pair()

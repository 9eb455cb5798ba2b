"""The commands of docker-compose.yml, as processes of this machine on a real database.

Only addresses are rewritten: the database's, and the port to listen on. What a container adds, the
images and their network, is not tested here.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from api.commands import migrate
from jobengine import JobEngine
from tests.sql.platform.helpers import make_roles

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
REWRITTEN = {"0.0.0.0": "127.0.0.1", "8000": "0"}  # noqa: S104 - this is what it takes away


def local_command(words: list[str]) -> list[str]:
    """Return the command with this environment's programs and this machine's addresses."""
    program = Path(sys.executable).with_name(words[0])
    return [str(program), *(REWRITTEN.get(word, word) for word in words[1:])]


# Both servers and their passwords are this machine's; none of the commands needs Redis to begin.
GIVEN = {
    "PGPASSWORD": "",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "SUPABASE_JWT_SECRET": "x" * 32,
    "SUPABASE_JWKS_URL": "",
    "CORS_ORIGINS": "",
    "PRICE_SCOPE": "agent",
    "PRICE_INSTRUMENTS": "2000",
    "STREAM_CLIENTS": "5000",
    "BASE_URL": "",
    "WEBHOOK_STRICT_200": "true",
    "WEBHOOK_PER_MINUTE": "100",
}


@contextmanager
def running(service: str, database_url: str) -> Iterator[subprocess.Popen[str]]:
    """Run the service's command until the block ends, with the variables that the file sets."""
    variables = SERVICES[service]["environment"].keys() - {"DATABASE_URL"}
    assert variables <= GIVEN.keys(), "a variable that is not given above"
    given = {name: GIVEN[name] for name in variables - {"PGPASSWORD"}}
    with subprocess.Popen(
        local_command(SERVICES[service]["command"]),
        env={**os.environ, **given, "DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_migrate_installs_engine_and_platform(
    admin_url: str, app_role: str, empty_database_url: str
) -> None:
    make_roles(admin_url, app_role)
    for _ in range(2):  # it runs on every start
        with running("migrate", empty_database_url) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err

    async def registers() -> None:
        async with JobEngine(empty_database_url) as engine:
            await engine.register_job_type("any")
            async with engine.connection() as conn:
                await conn.execute("select from public.jobs")

    asyncio.run(registers())


def test_api_passes_its_own_healthcheck(
    admin_url: str, app_role: str, empty_database_url: str
) -> None:
    make_roles(admin_url, app_role)
    asyncio.run(migrate(empty_database_url))
    with running("api", empty_database_url) as process:
        address = announced_address(process)
        _, *check = SERVICES["api"]["healthcheck"]["test"]
        check[-1] = check[-1].replace("http://127.0.0.1:8000", address)
        assert address in check[-1]
        subprocess.run(local_command(check), check=True)


def announced_address(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group()
    pytest.fail("the service ended without having served")


def test_worker_keeps_house_until_it_is_told_to_stop(database_url: str) -> None:
    with running("worker", database_url) as process:
        assert asyncio.run(status_of_an_unclaimed_job(database_url)) == "expired"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


async def status_of_an_unclaimed_job(database_url: str) -> str:
    """Return how a job ends that nobody claims: only housekeeping can end it."""
    async with JobEngine(database_url) as engine:
        await engine.register_job_type("unclaimed")
        job = await engine.enqueue("unclaimed", expires_in=0.001)
        return (await engine.wait(job.id, timeout=60)).status

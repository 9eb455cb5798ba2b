"""Expert advisors: compile, deploy, run and stop. Slow work, on a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp

from forex_agent import wire
from forex_agent.http import exact, transfer_session
from forex_agent.job import Job, Json, Report, failed
from forex_agent.terminal import Chart, Experts, NotSent, Rejected, TerminalError

T = TypeVar("T")

LARGEST_BYTES = 64 * 1024 * 1024
COUNT_SECONDS = 0.5
DEFAULT_NAME = "expert"


class Programs:
    """Does the jobs of expert advisors, one after the other."""

    def __init__(self, experts: Experts, folder: Path) -> None:
        """`folder` keeps what was compiled and not sent elsewhere."""
        self._experts = experts
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "experts")
        self._counting: asyncio.Future[None] | None = None
        self._active: int | None = None

    def close(self) -> None:
        """Take nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def active(self) -> int | None:
        """Return how many run, or ran when last counted: nobody waits for a compiler."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(self._count())
        await asyncio.wait({self._counting}, timeout=COUNT_SECONDS)
        return self._active

    async def _count(self) -> None:
        try:
            self._active = await self._call(self._experts.active)
        except (TerminalError, OSError):
            self._active = None

    async def do(self, job: Job) -> Report:
        """Return the report; `failed` names what was wrong."""
        work: Mapping[str, Callable[[Job], Awaitable[Report]]] = {
            "compile": self._compile,
            "deploy": self._deploy,
            "run": self._run,
            "stop": self._stop,
        }
        try:
            return await work[job.job_type](job)
        except wire.InvalidInput as error:
            return failed("invalid_input", str(error))
        except (NotSent, Rejected) as error:
            return failed(error.code, str(error))
        except TerminalError as error:
            return failed("rejected", str(error))
        except (aiohttp.ClientError, TimeoutError) as error:
            # Such URLs are secrets: only what went wrong is told.
            return failed("transfer_failed", f"the transfer failed: {type(error).__name__}")
        except OSError as error:
            return failed("rejected", f"the file cannot be kept: {error.strerror}")

    async def _call(self, do: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *values)

    async def _compile(self, job: Job) -> Report:
        source = await _content(job, "source_code", "source_url")
        compiled = await self._call(self._experts.compile, _name(job), source)
        if compiled.program is None:
            told = {"compilation_error": compiled.log, "log": compiled.log}
            return failed("compilation_failed", f"{compiled.errors} errors", **told)
        digest = hashlib.sha256(compiled.program).hexdigest()
        output = {
            "artifact_path": await self._keep(job, compiled.program, digest),
            "sha256": digest,
            "size_bytes": len(compiled.program),
            "warnings": compiled.warnings,
            "log": compiled.log,
        }
        return Report(status="completed", output=output)

    async def _keep(self, job: Job, program: bytes, digest: str) -> str:
        """Upload the program where the job says, else keep it here; returns its path."""
        url = job.input.get("upload_url")
        if url is not None:
            await _upload(str(url), program)
            return unquote(urlsplit(str(url)).path).lstrip("/")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{digest}.ex5").write_bytes(program)
        return f"{digest}.ex5"

    async def _deploy(self, job: Job) -> Report:
        program = await self._program(job)
        await self._call(self._experts.deploy, _name(job), program)
        digest = hashlib.sha256(program).hexdigest()
        return _done(job, {"sha256": digest, "size_bytes": len(program)})

    async def _program(self, job: Job) -> bytes:
        """Return what is to be deployed: sent along, to be fetched, or compiled here before."""
        kept = job.input.get("artifact_path")
        path = self._folder / Path(str(kept)).name
        if kept is not None and await asyncio.to_thread(path.is_file):
            return await asyncio.to_thread(path.read_bytes)
        return await _content(job, "program_base64", "program_url")

    async def _run(self, job: Job) -> Report:
        await self._call(self._experts.run, _chart(job))
        return _done(job, {"symbol": job.input["symbol"]})

    async def _stop(self, job: Job) -> Report:
        await self._call(self._experts.stop, _chart(job))
        return _done(job, {})


def _name(job: Job) -> str:
    """Return a name that is one file's, not a path."""
    name = wire.text({"name": job.input.get("name") or DEFAULT_NAME}, "name")
    if Path(name).name != name or name.startswith("."):
        raise wire.InvalidInput("name: a file's name without folders")
    return name


def _chart(job: Job) -> Chart:
    inputs = job.input.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise wire.InvalidInput("inputs: a JSON object")
    return Chart(
        expert=_name(job),
        symbol=wire.text(job.input, "symbol"),
        timeframe=wire.text({"timeframe": job.input.get("timeframe") or "H1"}, "timeframe"),
        inputs={str(name): _plain(value) for name, value in inputs.items()},
        magic=wire.whole(job.input, "magic", 0),
    )


def _plain(value: object) -> str | float | bool:
    if not isinstance(value, str | bool | int | Decimal):
        raise wire.InvalidInput("inputs: texts, numbers, true or false")
    return value if isinstance(value, str | bool) else float(value)


def _done(job: Job, output: Json) -> Report:
    return Report(status="completed", output={"name": _name(job), **output})


async def _content(job: Job, inline: str, url: str) -> bytes:
    """Return what the job carries, or what is at its URL."""
    if (given := job.input.get(inline)) is not None:
        text = wire.text({inline: given}, inline)
        return _base64(inline, text) if inline.endswith("base64") else text.encode()
    return await _fetch(wire.text(job.input, url))


def _base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise wire.InvalidInput(f"{name}: base64") from error


async def _upload(url: str, program: bytes) -> None:
    place = exact(url)
    async with (
        transfer_session(place) as http,
        http.put(place, data=program, allow_redirects=False) as response,
    ):
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)


async def _fetch(url: str) -> bytes:
    content, place = bytearray(), exact(url)
    async with transfer_session(place) as http, http.get(place) as response:
        response.raise_for_status()
        async for part in response.content.iter_any():
            content += part
            if len(content) > LARGEST_BYTES:
                raise wire.InvalidInput(f"the file is larger than {LARGEST_BYTES} bytes")
    return bytes(content)


PROGRAM_JOBS = frozenset({"compile", "deploy", "run", "stop"})

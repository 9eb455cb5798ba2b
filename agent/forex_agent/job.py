"""A job as the service hands it out, and the report that ends it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias
from uuid import UUID

from forex_agent.clock import elapsed

Json: TypeAlias = dict[str, Any]
_LIST, _GAP = re.compile(r'\s*\{\s*"jobs"\s*:\s*\[\s*'), re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()
ORDERS = frozenset({"trade", "close_position"})


class Malformed(ValueError):
    """What came is no job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that this agent holds under a lease; `raw` is what the service said, for the journal.

    `received` is `elapsed()` when it came; `begun` says that some process has begun it before.
    """

    job_id: str
    job_type: str
    input: Mapping[str, Any]
    lease_epoch: int
    lease_seconds: float
    expires_at: datetime | None
    begun: bool
    raw: str = field(repr=False)
    received: float = field(default_factory=elapsed)

    @property
    def is_order(self) -> bool:
        """Whether it may be done once at most."""
        return self.job_type in ORDERS

    @property
    def comment(self) -> str:
        """The trace that its order leaves at the broker: 26 characters, made from the id."""
        return base64.b32encode(UUID(self.job_id).bytes).decode().rstrip("=")


def read_job(raw: str) -> Job:
    """Read the service's answer; raises `Malformed`. Its numbers become Decimal, digit by digit."""
    try:
        body = json.loads(raw, parse_float=Decimal)
        expires_at = body["expires_at"]
        return Job(
            job_id=str(UUID(body["job_id"])),
            job_type=str(body["job_type"]),
            input=dict(body["input_data"] or {}),
            lease_epoch=int(body["lease_epoch"]),
            lease_seconds=float(body["lease_seconds"]),
            expires_at=None if expires_at is None else read_time(expires_at),
            begun=body["status"] == "running",
            raw=raw,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Malformed(f"no job: {error!r}") from error


def split_jobs(text: str) -> list[str]:
    """Cut the service's list into its jobs, each as it stands there; raises `Malformed`."""
    began = _LIST.match(text)
    if began is None:
        raise Malformed("no jobs")
    jobs, at = [], began.end()
    try:
        while text[at] != "]":
            _, end = _DECODER.raw_decode(text, at)
            jobs.append(text[at:end])
            at = _GAP.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing, too
    except (ValueError, IndexError) as error:
        raise Malformed(f"no jobs: {error!r}") from error
    return jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a job; one that is not `final` says that nobody knows yet."""

    status: Literal["completed", "failed"]
    output: Json
    error_message: str | None = None

    @property
    def final(self) -> bool:
        """Whether the outcome is known."""
        return self.output.get("outcome") != "unknown"

    def body(self, job: Job) -> Json:
        """Return the report as the service takes it."""
        return {
            "lease_epoch": job.lease_epoch,
            "status": self.status,
            "output_data": self.output,
            "error_message": self.error_message,
        }

    def dump(self) -> str:
        """Return it as text, for the journal."""
        return json.dumps([self.status, self.output, self.error_message])


def load_report(text: str) -> Report:
    """Return what `dump` has written."""
    status, output, message = json.loads(text)
    return Report(status=status, output=output, error_message=message)


def failed(code: str, message: str, **more: Any) -> Report:
    """Return the report of a definitive no; `code` is one of docs/agent.md."""
    return Report(
        status="failed", output={"error_code": code, **more}, error_message=message[:10_000]
    )


def unknown(message: str, retcode: int | None = None) -> Report:
    """Return the report of an order that may or may not have been done."""
    output: Json = {"outcome": "unknown"}
    if retcode is not None:
        output["retcode"] = retcode
    return Report(status="failed", output=output, error_message=message[:10_000])


def read_time(text: object) -> datetime:
    """Read a time of the wire; raises ValueError where it is none, or in no zone."""
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} is in no time zone")
    return moment.astimezone(UTC)


def show_time(moment: datetime) -> str:
    """Return a time as the wire has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

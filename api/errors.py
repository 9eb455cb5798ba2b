"""Every refusal of the service, in one shape and one table.

A problem is RFC 9457 `application/problem+json`; its `detail` is the short code that programs look
at, and the table says which HTTP status and which words belong to a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg
import psycopg_pool
from pydantic import ValidationError
from starlette.responses import Response

from jobengine import EngineError, EngineUnavailable, InvalidArgument, TryAgain, UnknownJobType
from jobengine.records import Verdict

MEDIA_TYPE = "application/problem+json"

# code: (HTTP status, title)
CODES: dict[str, tuple[int, str]] = {
    "invalid_json": (400, "The body is not JSON."),
    "token_invalid": (401, "A valid user token is needed: Authorization: Bearer <token>."),
    "agent_key_invalid": (401, "The agent's own key is needed: X-Agent-Key."),
    "agent_key_revoked": (401, "The agent of this key has been revoked."),
    "agent_mismatch": (403, "The key belongs to another agent."),
    "onboarding_required": (403, "The onboarding is not complete: POST /onboarding/complete."),
    "not_found": (404, "There is no such thing."),
    "position_not_found": (404, "The terminal has no such position."),
    "method_not_allowed": (405, "The path has other methods."),
    "lease_lost": (409, "The job is no longer held: stop working on it."),
    "conflict": (409, "The job has ended another way, or may not do this."),
    "agent_revoked": (409, "The agent has been revoked."),
    "agent_without_account": (409, "The agent was paired without a broker connection."),
    "agent_exists": (409, "There is an agent of that name."),
    "broker_connection_in_use": (409, "Agents or strategies still use the connection."),
    "email_taken": (409, "There is a user of that address."),
    "users_elsewhere": (409, "Another system keeps the users."),
    "body_too_large": (413, "The body is larger than 1 MiB."),
    "invalid": (422, "Values break a rule."),
    "broker_connection_required": (422, "Name a broker connection, or make one the default."),
    "broker_connection_mismatch": (422, "The agent works on another broker connection."),
    "order_rejected": (422, "The order was refused; `error_code` and `retcode` say why."),
    "order_expired": (422, "No agent took the order in time; it will not be sent any more."),
    "order_cancelled": (422, "The order was cancelled before it was sent."),
    "idempotency_key_reused": (422, "The key belongs to another request."),
    "trading_halted": (422, "The user has halted trading."),
    "trading_reducing": (422, "The user only closes positions."),
    "volume_out_of_range": (422, "The volume is larger than the user's max_volume."),
    "max_positions": (422, "There are as many positions as the user's max_open_positions."),
    "rate_limited": (422, "There were max_orders_per_minute orders within the last minute."),
    "daily_loss_limit_reached": (422, "The day's loss has reached the user's limit."),
    "risk_data_unavailable": (422, "The day's loss cannot be judged yet, so no order is sent."),
    "too_many_failed_keys": (429, "Too many wrong keys from here."),
    "overloaded": (429, "Too many keys are being checked at once."),
    "internal_error": (500, "The service failed; its log says more under the request id."),
    "agent_failed": (502, "The agent could not answer, or not in a way that can be read."),
    "busy": (503, "Another call was in the way; the same call may succeed."),
    "agent_offline": (503, "No agent of the account has been heard of for 10 minutes."),
    "broker_errors": (503, "The broker refused the orders before it: none for 30 seconds."),
    "database_unavailable": (503, "The database does not answer."),
    "prices_unavailable": (503, "The price store does not answer."),
    "tokens_unavailable": (503, "The keys that verify tokens cannot be fetched."),
    "agent_timeout": (504, "The agent did not answer in time."),
}
CHALLENGES = {
    "token_invalid": 'Bearer realm="api"',
    "agent_key_invalid": 'AgentKey realm="api", header="X-Agent-Key"',
    "agent_key_revoked": 'AgentKey realm="api", header="X-Agent-Key"',
}
RETRY_SECONDS = {429: 10, 503: 1, 504: 1}
# an agent beats so often; a pause after errors lasts so long
RETRY_SECONDS_OF = {"agent_offline": 30, "broker_errors": 30}
FIELD_ERRORS = 20  # as many values are named in one answer

_VERDICTS: dict[Verdict, str] = {
    "stale_lease": "lease_lost",
    "conflict": "conflict",
    "not_found": "not_found",
    "busy": "busy",
}


class Problem(Exception):
    """A refusal: raised anywhere in a request, answered by the endpoint."""

    def __init__(
        self,
        code: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        retry_after: int | None = None,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`errors` name field and rule; `retry_after` (seconds) replaces the default.

        `more` are members of the body besides those that every problem has.
        """
        self.status, self.title = CODES[code]
        super().__init__(code)
        self.code = code
        self.errors = errors
        self.retry_after = retry_after
        self.more = dict(more or {})
        self.headers = dict(headers or {})

    def response(self, request_id: str) -> Response:
        """Return the answer that says it."""
        headers = dict(self.headers)
        if challenge := CHALLENGES.get(self.code):
            headers["WWW-Authenticate"] = challenge
        if seconds := self.retry_after or RETRY_SECONDS.get(self.status):
            headers["Retry-After"] = str(seconds)
        body = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.code,
            "code": self.code,
            "request_id": request_id,
            **({"errors": list(self.errors)} if self.errors else {}),
            **self.more,
        }
        return Response(orjson.dumps(body), self.status, headers, media_type=MEDIA_TYPE)


def invalid(field: str, rule: str) -> Problem:
    """Return the refusal of one value."""
    return Problem("invalid", errors=[{"field": field, "rule": rule}])


def field_errors(error: ValidationError, whole: str) -> list[dict[str, str]]:
    """Name field and rule of what a model refused; `whole` names a value that has no fields."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        {"field": ".".join(map(str, one["loc"])) or whole, "rule": one["msg"]}
        for one in found[:FIELD_ERRORS]
    ]


def check(verdict: Verdict) -> None:
    """Raise the problem that an engine's verdict is; `ok`, `retried` and the like pass."""
    if code := _VERDICTS.get(verdict):
        raise Problem(code)


def from_error(error: Exception) -> Problem | None:
    """Return the problem that an error of the database or the engine is; None: a bug of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, EngineError):
        return _from_engine(error)
    if isinstance(error, psycopg.Error):
        return _from_driver(error)
    return None


def _from_engine(error: EngineError) -> Problem | None:
    if isinstance(error, InvalidArgument):
        return invalid(error.field, error.rule)
    if isinstance(error, UnknownJobType):
        return invalid("job_type", "a registered job type")
    if isinstance(error, TryAgain):
        return Problem("busy")
    return Problem("database_unavailable") if isinstance(error, EngineUnavailable) else None


def _from_driver(error: psycopg.Error) -> Problem | None:
    state = error.sqlstate or ""
    if state.startswith("FX") or state == "JE002":
        return _from_refusal(error)
    if state == "JE001":
        return invalid("job_type", "a registered job type")
    if state in {"40001", "40P01", "55P03", "57014"}:
        return Problem("busy")
    unavailable = isinstance(error, psycopg.OperationalError | psycopg_pool.PoolTimeout)
    return Problem("database_unavailable") if unavailable else None


def _from_refusal(error: psycopg.Error) -> Problem | None:
    """Read the JSON that a refusal of the platform's functions carries in its detail."""
    detail = orjson.loads(error.diag.message_detail or "{}")
    code = detail.get("code", "invalid")
    if code not in CODES:
        return None
    retry_after = RETRY_SECONDS_OF.get(code)
    if not detail.get("field"):
        return Problem(code, retry_after=retry_after)
    rule = detail.get("rule") or CODES[code][1]
    errors = [{"field": detail["field"], "rule": rule}]
    return Problem(code, errors=errors, retry_after=retry_after)

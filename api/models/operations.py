"""What the service says of itself, and the shape of every refusal."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from api.models.base import Answer


class Health(Answer):
    """The process serves."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """The database answers; without the price store, agents work on and /prices refuses."""

    status: Literal["ok"] = "ok"
    redis: Literal["ok", "unavailable"]


class FieldError(Answer):
    """One value that breaks a rule."""

    field: str
    rule: str


class ProblemBody(Answer):
    """RFC 9457; `detail` and `code` are the short code; `errors` where values are named.

    What an agent said of an order or a read is in the members after `errors`.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] = Field(default_factory=list)
    order_id: UUID | None = None
    error_code: str | None = None
    retcode: int | None = None
    retcode_name: str | None = None
    message: str | None = None

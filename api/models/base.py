"""What all models have in common."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

LONGEST_TEXT = 10_000  # characters

Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
Json: TypeAlias = dict[str, JsonValue]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Title = Annotated[str, Field(min_length=1, max_length=100)]
# A compiler's log may be longer: what the engine keeps of it is better than no report at all.
Text = Annotated[str, AfterValidator(lambda text: text[:LONGEST_TEXT])]
Seconds = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
# No colon: an agent must not write into the keys of another (`prices:<agent id>:<instrument>`).
INSTRUMENT = r"^[A-Za-z0-9][A-Za-z0-9._#+&/!$^-]{0,31}$"
Instrument = Annotated[str, StringConstraints(pattern=INSTRUMENT)]
Volume = Annotated[
    Decimal,
    Field(gt=0, le=99_999_999_999, decimal_places=8, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 99_999_999_999}),
]
Epoch = Annotated[int, Field(ge=0, le=2**31 - 1)]
JobStatus: TypeAlias = Literal[
    "pending", "claimed", "running", "completed", "failed", "cancelled", "expired", "unknown"
]
Liveness: TypeAlias = Literal["online", "degraded", "offline"]


class Body(BaseModel):
    """A request's body; a field that is not known is ignored, as agents of all ages call."""


class Changes(BaseModel):
    """A request's body that changes what it names; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Query(BaseModel):
    """A request's query; unknown names are ignored."""


Limit = Annotated[int, Field(ge=1, le=200)]


def plain(value: object) -> object:
    """Return what JSON can hold for a value that orjson does not know: every digit of a Decimal."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
    raise TypeError(f"not JSON: {type(value).__name__}")

"""What the service is told by its environment: every variable, its default and its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HIGHEST_PORT = 65535
SHORTEST_SECRET = 32  # bytes; RFC 7518 3.2: as long as the hash of HS256
BCRYPT_COSTS = range(4, 17)


class SettingsError(Exception):
    """The environment does not describe a service that could run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the servers are, who may come in, and where to listen.

    `key_failures` wrong agents' keys a minute are free, per address and per agent; so many alerts
    with an unknown secret, per address, cost a look at the database.
    `jwt_secret` verifies HS256 tokens, the keys of `jwks_url` ES256 and RS256 ones; one of the two
    is there. `cors_origins` are the browsers' origins that may call. `base_url` is where webhooks
    reach the service, by default where the strategy was made from; with `webhook_strict_200` they
    are answered 200 even if an alert is lost. A webhook's secret may send `webhook_per_minute`
    alerts (0: any number). A process holds `stream_clients` WebSockets at once.
    An agent's prices are kept of `price_instruments` instruments.
    With the `price_scope` `shared`, who has no agent sees what anybody's agent pushed last; with
    `agent`, nothing.
    """

    database_url: str
    redis_url: str
    jwt_secret: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    cors_origins: tuple[str, ...] = ()
    base_url: str | None = None
    webhook_strict_200: bool = True
    webhook_per_minute: int = 100
    pool_size: int = 10
    bcrypt_cost: int = 12
    key_failures: int = 10
    stream_clients: int = 5000
    price_scope: str = "agent"
    price_instruments: int = 2000

    def __post_init__(self) -> None:
        """Refuse what would let anybody in, or nobody."""
        if not (self.jwt_secret or self.jwks_url):
            raise SettingsError(
                "SUPABASE_JWT_SECRET is not set; it verifies the users' tokens (at least "
                f"{SHORTEST_SECRET} bytes). SUPABASE_JWKS_URL may stand in its place."
            )
        if self.jwt_secret and len(self.jwt_secret.encode()) < SHORTEST_SECRET:
            raise SettingsError(f"SUPABASE_JWT_SECRET has at least {SHORTEST_SECRET} bytes.")
        if self.bcrypt_cost not in BCRYPT_COSTS:
            raise SettingsError("AGENT_KEY_BCRYPT_COST is a number from 4 to 16.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables; one that is empty counts as not set."""
        origins = environment.get("CORS_ORIGINS") or ""
        return cls(
            database_url=_required(environment, "DATABASE_URL", _DATABASE),
            redis_url=_required(environment, "REDIS_URL", _REDIS),
            jwt_secret=environment.get("SUPABASE_JWT_SECRET") or None,
            jwks_url=environment.get("SUPABASE_JWKS_URL") or None,
            jwt_issuer=environment.get("SUPABASE_JWT_ISSUER") or None,
            host=environment.get("HOST") or "127.0.0.1",
            port=parse_port(environment.get("PORT") or "8000"),
            base_url=environment.get("BASE_URL") or None,
            webhook_strict_200=_switch(environment, "WEBHOOK_STRICT_200", default=True),
            webhook_per_minute=_number(environment, "WEBHOOK_PER_MINUTE", 100, range(1_000_001)),
            cors_origins=tuple(filter(None, (o.strip() for o in origins.split(",")))),
            pool_size=_number(environment, "DATABASE_POOL_SIZE", 10, range(3, 1001)),
            key_failures=_number(environment, "AGENT_KEY_FAILURES", 10, range(1, 1_000_001)),
            stream_clients=_number(environment, "STREAM_CLIENTS", 5000, range(1, 1_000_001)),
            price_instruments=_number(environment, "PRICE_INSTRUMENTS", 2000, range(1, 1_000_001)),
            price_scope=_word(environment, "PRICE_SCOPE", ("agent", "shared")),
            bcrypt_cost=_number(environment, "AGENT_KEY_BCRYPT_COST", 12, BCRYPT_COSTS),
        )


_DATABASE = (
    "it names the PostgreSQL database of the service, as in "
    "postgresql://user:password@host:5432/name."
)
_REDIS = "it names the Redis or Valkey of the prices, as in redis://:password@host:6379/0."


def parse_port(text: str) -> int:
    """Return the port that the text names; 0 lets the system choose one."""
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise SettingsError(f"A port is a number from 0 to {HIGHEST_PORT}, not {text!r}.")
    return int(text)


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    if value := environment.get(name):
        return value
    raise SettingsError(f"{name} is not set; {what} `python -m api up` needs no server at all.")


def _switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = (environment.get(name) or str(default)).lower()
    if text not in {"true", "false"}:
        raise SettingsError(f"{name} is true or false, not {text!r}.")
    return text == "true"


def _number(environment: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    text = environment.get(name) or str(default)
    if text.isascii() and text.isdigit() and int(text) in allowed:
        return int(text)
    raise SettingsError(f"{name} is a number from {allowed[0]} to {allowed[-1]}, not {text!r}.")


def _word(environment: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """Return the word that is set; the first allowed one is the default."""
    text = environment.get(name) or allowed[0]
    if text in allowed:
        return text
    raise SettingsError(f"{name} is {' or '.join(allowed)}, not {text!r}.")

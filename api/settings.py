"""What the service is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HIGHEST_PORT = 65535


class SettingsError(Exception):
    """The environment does not describe a service that could run."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the database is and where to listen."""

    database_url: str
    host: str
    port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read DATABASE_URL, HOST and PORT; a variable that is empty counts as not set."""
        url = environment.get("DATABASE_URL")
        if not url:
            raise SettingsError(
                "DATABASE_URL is not set; it names the PostgreSQL database of the service, "
                "as in postgresql://user:password@host:5432/name."
            )
        host = environment.get("HOST") or "127.0.0.1"
        return cls(url, host=host, port=parse_port(environment.get("PORT") or "8000"))


def parse_port(text: str) -> int:
    """Return the port that the text names; 0 lets the system choose one."""
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise SettingsError(f"A port is a number from 0 to {HIGHEST_PORT}, not {text!r}.")
    return int(text)

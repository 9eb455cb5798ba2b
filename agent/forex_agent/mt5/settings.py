"""Which terminal, and which account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MT5Settings:
    """What `initialize` and `login` of the package are given; what is None, they are not told.

    `path` is terminal64.exe, else the terminal that was installed last; without `login` the
    account is whichever the terminal is logged in to. `timeout` is in seconds.
    `utc_offset` is how far the broker's clock is ahead of UTC; None: found out from ticks.
    """

    path: Path | None = None
    login: int | None = None
    password: str | None = field(default=None, repr=False)
    server: str | None = None
    timeout: float = 25.0
    portable: bool = False
    utc_offset: timedelta | None = None

    def initialize(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Return the arguments of the package's `initialize`, by place and by name."""
        by_place = () if self.path is None else (str(self.path),)
        account = {} if self.login is None else {"login": self.login, **self.credentials()}
        return by_place, {**account, "timeout": self._milliseconds(), "portable": self.portable}

    def login_options(self) -> dict[str, Any]:
        """Return the arguments of the package's `login` besides the account's number."""
        return {**self.credentials(), "timeout": self._milliseconds()}

    def credentials(self) -> dict[str, str]:
        """Return password and server; without a password the terminal's saved one is used."""
        given = {"password": self.password, "server": self.server}
        return {name: value for name, value in given.items() if value is not None}

    def _milliseconds(self) -> int:
        return round(self.timeout * 1000)

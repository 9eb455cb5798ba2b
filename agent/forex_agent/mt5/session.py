"""The connection to the terminal: which account it is, and whether it may trade."""

from __future__ import annotations

import contextlib
from typing import Any

from forex_agent.mt5.calls import failed, nothing_sent
from forex_agent.mt5.package import Package
from forex_agent.mt5.settings import MT5Settings
from forex_agent.terminal import NotSent, Status


class Session:
    """Keeps to one account: the one that the settings name, else the first that was seen."""

    def __init__(self, settings: MT5Settings, package: Package) -> None:
        self._settings = settings
        self._package = package
        self._login = settings.login

    def connect(self) -> None:
        """Start or find the terminal, and log in where it is in another account than wanted."""
        with nothing_sent(self._settings.password):
            by_place, options = self._settings.initialize()
            self._answered("initialize", self._package.initialize(*by_place, **options))
            if self._settings.login is not None and self._seen() != self._settings.login:
                self._log_in(self._settings.login)
            self._login = self._login or self.account().login
            self.account()

    def _seen(self) -> int | None:
        row = self._package.account_info()
        return None if row is None else int(row.login)

    def _log_in(self, login: int) -> None:
        self._answered("login", self._package.login(login, **self._settings.login_options()))

    def close(self) -> None:
        """Let go of the terminal; never raises."""
        with contextlib.suppress(Exception):
            self._package.shutdown()

    def status(self) -> Status:
        """Tell how the terminal is; never raises."""
        try:
            with nothing_sent():
                return self._status()
        except NotSent:
            return Status(
                connected=False,
                trade_allowed=False,
                login=str(self._login or ""),
                server=self._settings.server or "",
                ping_ms=None,
                platform="mt5",
                version="",
            )

    def _status(self) -> Status:
        terminal, account = self._terminal(), self.account()
        return Status(
            connected=bool(terminal.connected),
            trade_allowed=_why_no_trading(terminal, account) is None,
            login=str(account.login),
            server=account.server,
            ping_ms=terminal.ping_last / 1000,  # microseconds
            platform="mt5",
            version=str(terminal.build),
        )

    def account(self) -> Any:
        """Return the account's row; `NotSent` where somebody has switched to another account."""
        row = self._answered("account_info", self._package.account_info())
        if self._login is not None and int(row.login) != self._login:
            raise NotSent(
                "not_sent",
                f"the terminal is logged in to account {row.login}, not to {self._login}",
            )
        return row

    def check_connected(self) -> None:
        """Raise `NotSent` where the terminal has lost the broker or is in another account."""
        self._connected()

    def check_trading(self) -> None:
        """Raise `NotSent` where the terminal is away, in another account, or may not trade."""
        if why := _why_no_trading(*self._connected()):
            raise NotSent("trade_disabled", why)

    def _connected(self) -> tuple[Any, Any]:
        terminal = self._terminal()
        if not terminal.connected:
            raise NotSent("disconnected", "the terminal has no connection to the broker")
        return terminal, self.account()

    def _terminal(self) -> Any:
        return self._answered("terminal_info", self._package.terminal_info())

    def _answered(self, what: str, answer: Any) -> Any:
        if not answer:
            raise failed(self._package, what, secret=self._settings.password)
        return answer


def _why_no_trading(terminal: Any, account: Any) -> str | None:
    """Say who does not allow trading, and what to do about it; None: it is allowed."""
    reasons = (
        (not terminal.trade_allowed, "AutoTrading is off in the terminal: switch it on"),
        (
            terminal.tradeapi_disabled,
            "the terminal's options disallow trading through the Python API: allow it",
        ),
        (
            not account.trade_allowed,
            "the broker allows no trading on this account (or it is an investor's log-in)",
        ),
        (not account.trade_expert, "the broker allows no automated trading on this account"),
    )
    return next((words for applies, words in reasons if applies), None)

"""What the agent is told: `agent.toml` in its state folder, and FOREX_AGENT_… in the environment.

The environment wins. Every wrong value is named at once, with its rule.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from forex_agent import rules
from forex_agent.rules import Rule

PREFIX = "FOREX_AGENT_"
_USUAL_TERMINAL = "mt5" if sys.platform == "win32" else "simulated"
FILE = "agent.toml"


class WrongSettings(Exception):
    """Values break a rule; the message names each of them."""


def _about(rule: Rule, about: str) -> Mapping[str, Any]:
    return {"rule": rule, "about": about}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One agent's settings; durations in seconds, paths relative to the state folder."""

    state: Path = field(
        default=Path("~/.forex-agent"),
        metadata=_about(rules.PATH, "the state folder; one account, one folder"),
    )
    service_url: str = field(
        default="", metadata=_about(rules.URL, "where the service is; `pair` writes it")
    )
    agent_id: str = field(
        default="", metadata=_about(rules.ID, "who this agent is; `pair` writes it")
    )
    key_file: Path = field(
        default=Path("agent.key"),
        metadata=_about(rules.PATH, "the agent's key, for its owner only"),
    )
    terminal: str = field(
        default=_USUAL_TERMINAL,
        metadata=_about(
            rules.choice("mt5", "simulated"), "which terminal; off Windows the simulated one"
        ),
    )
    symbols: Sequence[str] = field(
        default=(),
        metadata=_about(
            rules.NAMES, "whose prices are always pushed, besides open positions and watched ones"
        ),
    )
    deviation: int = field(
        default=20,
        metadata=_about(
            rules.whole(0, 10_000), "how many points a price may slip where the order does not say"
        ),
    )
    price_seconds: float = field(
        default=1.0,
        metadata=_about(
            rules.number(0.05, 60), "between pushes of prices; the service may change it"
        ),
    )
    heartbeat_seconds: float = field(
        default=30.0,
        metadata=_about(rules.number(1, 300), "between heartbeats; the service may change it"),
    )
    poll_seconds: float = field(
        default=25.0,
        metadata=_about(
            rules.number(0, 30), "how long a question for a job waits; the service may change it"
        ),
    )
    deals_seconds: float = field(
        default=2.0, metadata=_about(rules.number(0.1, 300), "between looks for new deals")
    )
    deals_days: float = field(
        default=2.0,
        metadata=_about(rules.number(0, 365), "how far back the very first look for deals goes"),
    )
    account_seconds: float = field(
        default=60.0,
        metadata=_about(
            rules.number(1, 3600), "the account is reported so often where nothing changed"
        ),
    )
    call_seconds: float = field(
        default=30.0,
        metadata=_about(rules.number(0.1, 300), "how long one call of the terminal may take"),
    )
    check_seconds: float = field(
        default=5.0,
        metadata=_about(
            rules.number(0.05, 300), "between looks at the terminal, whether it is there"
        ),
    )
    dead_checks: int = field(
        default=5,
        metadata=_about(
            rules.whole(1, 100), "a call that hangs for so many looks costs the connection"
        ),
    )
    trace_seconds: float = field(
        default=30.0,
        metadata=_about(
            rules.number(0, 600), "how long to look for an order before it is reported unknown"
        ),
    )
    trace_hours: float = field(
        default=24.0,
        metadata=_about(rules.number(0, 720), "how long to go on looking for an unknown order"),
    )
    requotes: int = field(
        default=3,
        metadata=_about(rules.whole(0, 3), "how often an order follows a price that moved"),
    )
    in_hand: int = field(
        default=64,
        metadata=_about(rules.whole(1, 1000), "jobs taken at once; orders are taken in any case"),
    )
    drain_seconds: float = field(
        default=30.0,
        metadata=_about(rules.number(0, 600), "how long the end waits for the work in hand"),
    )
    log_level: str = field(
        default="info",
        metadata=_about(rules.choice("debug", "info", "warning", "error"), "what is logged"),
    )
    log_file: Path | None = field(
        default=None,
        metadata=_about(rules.PATH, "a log file besides standard error; five of 10 MB are kept"),
    )
    mt5_path: Path | None = field(
        default=None, metadata=_about(rules.PATH, "terminal64.exe; else the running one")
    )
    mt5_portable: bool = field(
        default=False, metadata=_about(rules.FLAG, "the terminal keeps its data beside itself")
    )
    mt5_login: int | None = field(
        default=None, metadata=_about(rules.whole(1, 2**63 - 1), "the account's number")
    )
    mt5_server: str | None = field(
        default=None, metadata=_about(rules.TEXT, "the account's server, as the broker has it")
    )
    mt5_password_file: Path | None = field(
        default=None,
        metadata=_about(rules.PATH, "a file with the account's password, for its owner only"),
    )
    mt5_utc_offset: float | None = field(
        default=None,
        metadata=_about(
            rules.number(-14, 14), "hours that the broker's clock is ahead of UTC; else found out"
        ),
    )
    simulated_seed: int = field(
        default=1, metadata=_about(rules.whole(0, 2**63 - 1), "the seed of the simulated prices")
    )
    simulated_data: Path | None = field(
        default=None,
        metadata=_about(
            rules.PATH, "a folder of recorded prices to replay instead of simulated ones"
        ),
    )

    def within(self, path: Path) -> Path:
        """Return a path of this agent's own: relative ones lie in the state folder."""
        return self.state / path

    @property
    def kill_file(self) -> Path:
        """While this file is there, no trade is opened."""
        return self.state / "HALT"


def load(
    state: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Settings:
    """Read file and environment; `overrides` win over both. Raises `WrongSettings`."""
    environ = os.environ if environment is None else environment
    told = environ.get(f"{PREFIX}STATE")
    folder = (state or Path(told or "~/.forex-agent")).expanduser().absolute()
    given = {**_file(folder / FILE), **_environment(environ), **overrides}
    given.pop("state", None)
    wrong = [*_unknown(given), *_broken(given)]
    if wrong:
        raise WrongSettings("\n".join(wrong))
    values: dict[str, Any] = {name: _rule(name).read(value) for name, value in given.items()}
    return Settings(state=folder, **values)


def table() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, default, rule and purpose of every setting, as the documentation has them."""
    for one in fields(Settings):
        shown = "" if one.default in (None, ()) else str(one.default)
        yield one.name, shown, one.metadata["rule"].words, one.metadata["about"]


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongSettings(f"{path}: {error}") from error


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name a setting; empty ones say nothing."""
    return {
        one.name: value
        for one in fields(Settings)
        if (value := environ.get(PREFIX + one.name.upper()))
    }


def _unknown(given: Mapping[str, object]) -> Iterator[str]:
    known = {one.name for one in fields(Settings)}
    for name in given.keys() - known:
        yield f"{name}: there is no such setting"


def _broken(given: Mapping[str, object]) -> Iterator[str]:
    for one in fields(Settings):
        if one.name in given:
            try:
                one.metadata["rule"].read(given[one.name])
            except (ValueError, TypeError, KeyError):
                yield f"{one.name}: must be {one.metadata['rule'].words}"


def _rule(name: str) -> Rule:
    found: Rule = next(one for one in fields(Settings) if one.name == name).metadata["rule"]
    return found

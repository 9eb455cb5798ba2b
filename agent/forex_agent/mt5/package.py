"""The seam: the part of the package MetaTrader5 that the driver uses, and how to get hold of it.

The package answers None where a call failed (`last_error` says why), and rows that are named
tuples. It has one connection per process and must be called by one thread.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from forex_agent.terminal import NotSent


class Package(Protocol):
    """The functions of the package, by its own names; its constants are in `constants.py`."""

    # The signatures are as loose as the package's own: C functions without types.
    def initialize(self, *path: str, **options: Any) -> bool: ...
    def login(self, login: int, /, **options: Any) -> bool: ...
    def shutdown(self) -> object: ...
    def last_error(self) -> tuple[int, str]: ...
    def terminal_info(self) -> Any: ...
    def account_info(self) -> Any: ...
    def symbol_select(self, symbol: str, enable: bool, /) -> bool: ...  # noqa: FBT001 - its own
    def symbol_info(self, symbol: str, /) -> Any: ...
    def symbol_info_tick(self, symbol: str, /) -> Any: ...
    def copy_rates_from_pos(
        self, symbol: str, timeframe: int, start: int, count: int, /
    ) -> Sequence[Any] | None: ...
    def positions_get(self, **which: Any) -> Sequence[Any] | None: ...
    def orders_get(self, **which: Any) -> Sequence[Any] | None: ...
    def history_orders_get(self, *span: int, **which: Any) -> Sequence[Any] | None: ...
    def history_deals_get(self, *span: int, **which: Any) -> Sequence[Any] | None: ...
    def order_check(self, request: Mapping[str, Any], /) -> Any: ...
    def order_send(self, request: Mapping[str, Any], /) -> Any: ...


def load() -> Package:
    """Import the package; `NotSent` (`not_sent`) says what to do where there is none."""
    try:
        return cast("Package", importlib.import_module("MetaTrader5"))
    except ImportError as error:
        raise NotSent("not_sent", _why_not()) from error


def _why_not() -> str:
    if platform.system() != "Windows":
        return (
            "the package MetaTrader5 exists for Windows only: on this system choose the simulated"
            ' terminal (terminal = "simulated")'
        )
    return "the package MetaTrader5 is not installed here: pip install MetaTrader5"

"""The driver for a real MetaTrader 5 terminal, on Windows (docs/mt5.md)."""

from forex_agent.mt5.experts import MT5Experts
from forex_agent.mt5.folders import Folders, locate
from forex_agent.mt5.settings import MT5Settings
from forex_agent.mt5.terminal import MT5Terminal

__all__ = ["Folders", "MT5Experts", "MT5Settings", "MT5Terminal", "locate"]

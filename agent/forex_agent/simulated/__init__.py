"""A MetaTrader 5 account that is simulated: market, broker, book, faults.

A product in itself, for developing and testing trading systems; it needs nothing but Python.
docs/simulated-terminal.md says what it simulates.
"""

from forex_agent.simulated.book import BookState, Held, read_book
from forex_agent.simulated.broker import Terms
from forex_agent.simulated.clock import Clock, LiveClock, ManualClock
from forex_agent.simulated.csv_files import BrokenLine
from forex_agent.simulated.experts import SimulatedExperts
from forex_agent.simulated.faults import Faults, clear, inject
from forex_agent.simulated.hours import WeekendClosed
from forex_agent.simulated.market import Market
from forex_agent.simulated.random_walk import RandomWalk
from forex_agent.simulated.replay import Replay
from forex_agent.simulated.symbols import KNOWN, Spec
from forex_agent.simulated.terminal import SimulatedTerminal

__all__ = [
    "KNOWN",
    "BookState",
    "BrokenLine",
    "Clock",
    "Faults",
    "Held",
    "LiveClock",
    "ManualClock",
    "Market",
    "RandomWalk",
    "Replay",
    "SimulatedExperts",
    "SimulatedTerminal",
    "Spec",
    "Terms",
    "WeekendClosed",
    "clear",
    "inject",
    "read_book",
]

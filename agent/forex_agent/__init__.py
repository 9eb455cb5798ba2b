"""The MetaTrader 5 agent: pulls jobs over HTTP, has a terminal do them, reports the outcome.

It imports nothing of the service and needs no inbound port.
"""

__version__ = "0.1.0"

"""Where the agent's log goes: standard error, and a file that does not grow for ever."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler

from forex_agent.settings import Settings

FILE_BYTES, FILES_KEPT = 10_000_000, 5
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(settings: Settings) -> None:
    """Log as the settings say."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.log_file is not None:
        handlers.append(
            RotatingFileHandler(
                settings.within(settings.log_file), maxBytes=FILE_BYTES, backupCount=FILES_KEPT
            )
        )
    logging.basicConfig(level=settings.log_level.upper(), format=FORMAT, handlers=handlers)

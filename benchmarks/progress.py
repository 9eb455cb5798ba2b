"""What goes on, for whoever waits: on stderr, so that stdout is the report."""

import sys


def say(line: str) -> None:
    """Show one line at once."""
    print(line, file=sys.stderr, flush=True)

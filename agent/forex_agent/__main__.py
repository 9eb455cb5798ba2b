"""`python -m forex_agent`, the same as `forex-agent`."""

import sys

from forex_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())

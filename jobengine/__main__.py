"""`python -m jobengine` is the command `jobengine`."""

from __future__ import annotations

import sys

from jobengine.cli import main

if __name__ == "__main__":
    sys.exit(main())

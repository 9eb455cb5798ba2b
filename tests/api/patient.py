"""`python -m api serve` with some limits of its own: `python -m tests.api.patient serve`.

LIMITS is a JSON object: `api.reads.WAIT_SECONDS` and the like, and the value that each is to have.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from api.__main__ import main


def change(limits: dict[str, float]) -> None:
    """Give each constant its value; one that is not there is a mistake."""
    for path, value in limits.items():
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path
        setattr(import_module(module), name, value)


if __name__ == "__main__":
    change(json.loads(os.environ["LIMITS"]))
    sys.exit(main(sys.argv[1:]))

"""The README's first command: `jobengine demo ARGS`, and then `python -m api demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from api import __main__ as api
from jobengine import cli


def main(arguments: Sequence[str]) -> int:
    """Return the first exit code that is not 0; `--json` and `--seed` are for both."""
    if code := cli.main(["demo", *arguments]):
        return code
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    shared.add_argument("--json", action="store_true")
    shared.add_argument("--seed", default="1")
    options, _ = shared.parse_known_args(arguments)
    print("\nand now the platform around it", file=sys.stderr, flush=True)
    return api.main(["demo", "--seed", options.seed, *(["--json"] if options.json else [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

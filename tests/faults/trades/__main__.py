"""Goes on killing agents and services at work on orders, and judges: `--kills N --seed S`.

nox -s soak -- trades --kills 10000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from api import commands
from api.embedded import EmbeddedValkey
from jobengine.embedded import EmbeddedPostgres
from tests.faults.trades.place import Place, place
from tests.faults.trades.run import Deaths


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s soak -- trades", description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000, help="how many deaths (10000)")
    parser.add_argument("--seed", default="1", help="the same seed plans the same deaths")
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="trades-"))
    folder.chmod(0o755)  # as root the servers run as another user
    with (
        EmbeddedPostgres(folder / "postgres", durable=False) as postgres,
        EmbeddedValkey(folder) as valkey,
    ):
        asyncio.run(commands.migrate(postgres.url))
        with place(postgres.url, valkey.url, folder) as somewhere:
            violations = soak(somewhere, told.seed, told.kills)
    print(f"traces: {folder}")
    return 1 if violations else 0


def soak(somewhere: Place, seed: str, kills: int) -> int:
    """Run until so many died; return how many findings there were."""
    killed: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    runs = violations = 0
    while killed.total() < kills:
        runs += 1
        result = somewhere.run(f"{seed}/{runs}", Deaths(agent=5, service=1))
        killed += result.killed
        statuses += result.statuses
        violations += len(result.wrong)
        print(f"run {runs}: {killed.total()} killed, orders {dict(statuses)}", flush=True)
        for finding in result.wrong:
            print(f"  VIOLATION {finding}", flush=True)
    print(f"\n{runs} runs, {violations} violations; killed at:")
    for point, count in sorted(killed.items()):
        print(f"  {count:6} {point}")
    return violations


if __name__ == "__main__":
    sys.exit(main())

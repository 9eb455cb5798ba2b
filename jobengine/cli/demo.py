"""`demo`: a run that proves itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobengine.cli import codes
from jobengine.cli.options import Options, command, whole
from jobengine.cli.show import say_json

_DEMO = """
Hashes every file of a folder with worker processes that are killed in the middle of jobs, and
proves against the disk that nothing was lost or counted twice.

  jobengine demo ~/Pictures --workers 8 --kill 5
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, _demo, "Work through a folder while workers are killed.", _DEMO)
    parser.add_argument("path", nargs="?", type=Path, default=Path(), help="default: this folder")
    parser.add_argument("--workers", type=whole(1), default=4, help="processes (default: 4)")
    parser.add_argument(
        "--kill",
        type=whole(0),
        default=3,
        help="workers to kill (default: 3); some jobs linger for it",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed")


async def _demo(url: str, options: Options) -> int:
    from jobengine.demo.report import print_result  # noqa: PLC0415 - only the demo needs it
    from jobengine.demo.run import Options as DemoOptions  # noqa: PLC0415
    from jobengine.demo.run import run_demo  # noqa: PLC0415

    wanted = DemoOptions(options.path, options.workers, options.kill, options.seed)
    result = await run_demo(url, wanted)
    if options.json:
        say_json(result.as_dict())
    else:
        print_result(result)
    return codes.DONE if result.proved else codes.FAILED

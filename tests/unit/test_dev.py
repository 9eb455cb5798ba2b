"""The bootstrap, run as a process beside a stand-in for uv: no download, the real decisions."""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Answers as uv does, and writes down what it was asked for. Where there is a `gate`, `sync` waits
# until nobody else holds a lock on it, and exits with the code that is written there.
STAND_IN = f"""#!{sys.executable} -S
import fcntl, os, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("uv 0.13.8 (x86_64-unknown-linux-gnu)")
    sys.exit()
os.chdir(os.environ["CHECKOUT"])
words = [word for word in sys.argv[1:] if word in ("venv", "--clear", "pip", "sync", "install")]
with Path("steps").open("a") as steps:
    print(*words, os.environ.get("UV_SYSTEM_CERTS"), file=steps)
print("step done")
if "venv" in words:
    programs = Path(sys.argv[-1], "bin")
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "python").unlink(missing_ok=True)
    (programs / "python").symlink_to(sys.executable)
if "sync" in words and Path("gate").exists():
    with Path("gate").open() as gate:
        print("at the gate", file=sys.stderr, flush=True)
        fcntl.flock(gate, fcntl.LOCK_SH)
        sys.exit(int(gate.read()))
"""
FIRST = ["venv --clear 1", "pip sync 1", "pip install 1"]
UPDATE = FIRST[1:]


@dataclass(frozen=True)
class Checkout:
    """A copy of what dev.py reads, with the stand-in on PATH; it is started from elsewhere."""

    folder: Path
    variables: dict[str, str]

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run dev.py beside the block; it and its steps end with the block, or after a minute."""
        with subprocess.Popen(
            [sys.executable, str(self.folder / "dev.py"), *arguments],
            cwd=self.folder.parent,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            limit = threading.Timer(60, end_all_of, [process])
            limit.start()
            try:
                yield process
            finally:
                limit.cancel()
                end_all_of(process)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.started(*arguments) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    def steps(self) -> list[str]:
        """Return what uv was asked for since this was last asked."""
        file = self.folder / "steps"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return text.splitlines()

    def change(self, file: str) -> None:
        with (self.folder / file).open("a") as text:
            text.write("\n# changed\n")


def end_all_of(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr
    assert any(words in line for line in process.stderr), "it ended without these words"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link to the Python of this run
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    for name in ("dev.py", "pyproject.toml", "requirements/dev.txt", "requirements/bootstrap.txt"):
        shutil.copy(ROOT / name, folder / name)
    program(tmp_path / "bin" / "uv", STAND_IN)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}"
    return Checkout(folder, {"PATH": path, "HOME": str(tmp_path), "CHECKOUT": str(folder)})


@pytest.fixture
def made(checkout: Checkout) -> Checkout:
    code, out, err = checkout.run("exec", "true")
    assert (code, out) == (0, ""), "what a step prints is not the command's output"
    assert err.count("step done") == len(FIRST)
    assert checkout.steps() == FIRST
    return checkout


def test_second_start_leaves_the_environment_alone(made: Checkout) -> None:
    assert made.run("exec", "true") == (0, "", "")
    assert made.steps() == []


@pytest.mark.parametrize("file", ["requirements/dev.txt", "pyproject.toml", "dev.py"])
def test_changed_file_updates_the_environment(made: Checkout, file: str) -> None:
    made.change(file)
    made.run("exec", "true")
    assert made.steps() == UPDATE


def test_lost_python_makes_the_environment_anew(made: Checkout) -> None:
    (made.folder / ".venv" / "bin" / "python").unlink()
    made.run("exec", "true")
    assert made.steps() == FIRST


def test_moved_checkout_makes_the_environment_anew(made: Checkout) -> None:
    folder = made.folder.rename(made.folder.with_name("elsewhere"))
    moved = Checkout(folder, {**made.variables, "CHECKOUT": str(folder)})
    moved.run("exec", "true")
    assert moved.steps() == FIRST


def test_failed_step_ends_the_start_and_is_tried_again(checkout: Checkout) -> None:
    (checkout.folder / "gate").write_text("7")
    code, out, err = checkout.run("exec", "echo", "never")
    assert (code, out) == (1, "")
    assert "this step failed" in err
    assert "Traceback" not in err
    (checkout.folder / "gate").unlink()
    checkout.steps()
    assert checkout.run("exec", "true")[0] == 0
    assert checkout.steps() == UPDATE


@pytest.fixture
def gate(checkout: Checkout) -> Iterator[TextIO]:
    """Stop `sync` where it begins, until the test closes this file."""
    with (checkout.folder / "gate").open("w") as file:
        print(0, file=file, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_two_starts_make_the_environment_once(checkout: Checkout, gate: TextIO) -> None:
    with checkout.started("exec", "true") as first:
        wait_for(first, "at the gate")
        with checkout.started("exec", "true") as second:
            wait_for(second, "waiting for it")
            gate.close()
            assert (first.wait(), second.wait()) == (0, 0)
    assert checkout.steps() == FIRST


def test_step_that_outlives_its_start_keeps_the_lock(checkout: Checkout, gate: TextIO) -> None:
    with checkout.started("exec", "true") as first:
        wait_for(first, "at the gate")
        first.kill()
        with checkout.started("exec", "true") as second:
            wait_for(second, "waiting for it")
            gate.close()
            assert second.wait() == 0
    assert checkout.steps() == [*FIRST[:2], *UPDATE]


def test_command_takes_the_process_over(made: Checkout) -> None:
    script = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with made.started("exec", "python", "-c", script) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_command_runs_inside_the_environment(made: Checkout) -> None:
    script = 'echo "$VIRTUAL_ENV"; command -v python; pwd; exit 7'
    code, out, _ = made.run("exec", "sh", "-c", script)
    venv = made.folder / ".venv"
    assert out.splitlines() == [str(venv), f"{venv}/bin/python", str(made.folder.parent)]
    assert code == 7


def test_unknown_command_is_answered_as_by_a_shell(made: Checkout) -> None:
    code, _, err = made.run("exec", "no-such-program")
    assert code == 127
    assert err == "dev.py: no-such-program: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["run", "--jobs", "5"], "python -m api.demo --jobs 5"),
        (["test"], "nox -s tests"),
        (["test", "--", "-k", "claim"], "nox -s tests -- -k claim"),
    ],
)
def test_verb_runs_its_command_at_the_root(
    made: Checkout, arguments: list[str], expected: str
) -> None:
    for name in ("python", "nox"):
        program(made.folder / ".venv" / "bin" / name, f'#!/bin/sh\necho {name} "$@"; pwd\n')
    assert made.run(*arguments) == (0, f"{expected}\n{made.folder}\n", "")


@pytest.mark.parametrize("arguments", [[], ["test", "-k", "claim"], ["exec"], ["frobnicate"]])
def test_unclear_command_line_is_answered_with_the_usage(
    checkout: Checkout, arguments: list[str]
) -> None:
    code, out, err = checkout.run(*arguments)
    assert (code, out) == (2, "")
    assert "python3 dev.py test" in err
    assert checkout.steps() == []


# The stand-in for pip installs the stand-in for uv where it is told to.
PIP = """
import shutil, sys
from pathlib import Path
assert "--require-hashes" in sys.argv
target = Path(sys.argv[sys.argv.index("--target") + 1], "bin")
target.mkdir(parents=True)
shutil.copy(Path(__file__).parents[2] / "bin" / "uv", target / "uv")
"""


@pytest.mark.parametrize("version", ["uv 0.4.30", "nonsense"])
def test_uv_that_is_too_old_is_replaced_by_our_own(
    checkout: Checkout, tmp_path: Path, version: str
) -> None:
    program(tmp_path / "old" / "uv", f"#!/bin/sh\necho '{version}'\n")
    program(tmp_path / "modules" / "pip" / "__main__.py", PIP)
    checkout.variables["PATH"] = f"{tmp_path / 'old'}{os.pathsep}{os.defpath}"
    checkout.variables["PYTHONPATH"] = str(tmp_path / "modules")
    code, _, err = checkout.run("exec", "true")
    assert (code, "fetching uv" in err) == (0, True)
    assert checkout.steps() == FIRST
    checkout.change("pyproject.toml")
    _, _, err = checkout.run("exec", "true")
    assert "fetching uv" not in err
    assert checkout.steps() == UPDATE


def test_older_python_is_told_so() -> None:
    pretend = "import runpy, sys; sys.version_info = (3, 10, 9); runpy.run_path('dev.py')"
    ended = subprocess.run(
        [sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == "dev.py needs Python 3.11 or newer; this is Python 3.10.\n"


def test_older_python_can_read_the_file() -> None:
    ast.parse((ROOT / "dev.py").read_text(), feature_version=(3, 7))

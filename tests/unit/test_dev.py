"""The bootstrap, run as a process beside a stand-in for uv: no download, the real decisions."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Answers as uv does, and writes down what it was asked for. `sync` tries to open `gate`: where
# the test has put a FIFO there, it waits until the test writes to it.
STAND_IN = f"""#!{sys.executable} -S
import os, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("STAND_IN_VERSION", "uv 0.13.8 (x86_64-unknown-linux-gnu)"))
    sys.exit()
words = [word for word in sys.argv[1:] if word in ("venv", "--clear", "pip", "sync", "install")]
with Path("steps").open("a") as steps:
    print(*words, os.environ.get("UV_SYSTEM_CERTS"), file=steps)
if "venv" in words:
    programs = Path(sys.argv[-1], "bin")
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "python").unlink(missing_ok=True)
    (programs / "python").symlink_to(sys.executable)
if "sync" in words and Path("gate").exists():
    sys.exit(int(Path("gate").read_text()))
"""
FIRST = ["venv --clear 1", "pip sync 1", "pip install 1"]
UPDATE = FIRST[1:]


@dataclass(frozen=True)
class Checkout:
    """A copy of what dev.py reads, in a folder of its own, with the stand-in on PATH."""

    folder: Path
    variables: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "dev.py", *arguments],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
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


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
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
    return Checkout(folder, {"PATH": path, "HOME": str(tmp_path)})


@pytest.fixture
def made(checkout: Checkout) -> Checkout:
    assert checkout.run("exec", "true")[0] == 0
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
    moved = Checkout(made.folder.rename(made.folder.with_name("elsewhere")), made.variables)
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


def test_two_starts_make_the_environment_once(checkout: Checkout) -> None:
    gate = checkout.folder / "gate"
    os.mkfifo(gate)
    with checkout.start("exec", "true") as first:
        with gate.open("w") as release:  # opens when uv has begun to read it
            with checkout.start("exec", "true") as second:
                assert second.stderr
                assert "waiting for it" in second.stderr.readline()
                release.write("0")
                release.close()
                assert first.wait(timeout=60) == 0
                assert second.wait(timeout=60) == 0
    assert checkout.steps() == FIRST


def test_step_that_outlives_its_start_keeps_the_lock(checkout: Checkout) -> None:
    gate = checkout.folder / "gate"
    os.mkfifo(gate)
    with checkout.start("exec", "true") as first, gate.open("w") as release:
        first.kill()
        first.wait()
        with checkout.start("exec", "true") as second:
            assert second.stderr
            assert "waiting for it" in second.stderr.readline()
            release.write("0")
            release.close()
            # The second finds an unfinished environment and a gate that it must be let through.
            with gate.open("w") as again:
                again.write("0")
            assert second.wait(timeout=60) == 0


def test_command_takes_the_process_over(made: Checkout) -> None:
    script = "import os; print(os.getpid(), flush=True); input()"
    with made.start("exec", "python", "-c", script) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_command_runs_inside_the_environment(made: Checkout) -> None:
    script = 'echo "$VIRTUAL_ENV"; command -v python; pwd; exit 7'
    code, out, _ = made.run("exec", "sh", "-c", script)
    venv = made.folder / ".venv"
    assert out.splitlines() == [str(venv), f"{venv}/bin/python", str(made.folder)]
    assert code == 7


def test_unknown_command_is_answered_as_by_a_shell(made: Checkout) -> None:
    code, _, err = made.run("exec", "no-such-program")
    assert code == 127
    assert err == "dev.py: no-such-program: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["run", "--jobs", "5"], "jobengine demo --jobs 5"),
        (["test"], "nox -s tests"),
        (["test", "--", "-k", "claim"], "nox -s tests -- -k claim"),
    ],
)
def test_verb_runs_its_command_at_the_root(
    made: Checkout, arguments: list[str], expected: str
) -> None:
    for name in ("jobengine", "nox"):
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

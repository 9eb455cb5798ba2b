"""A private PostgreSQL 15 with plpgsql_check, unpacked from Debian's packages, not installed.

PostgreSQL finds its files relative to its own program, so a tree of the same shape works anywhere.
PostgreSQL 15 is also the oldest release that the engine supports.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from jobengine.embedded.account import account_for, base, reachable

PACKAGES = ("postgresql-15", "postgresql-15-plpgsql-check")
BIN = Path("usr/lib/postgresql/15/bin")
PROGRAMS = ("postgres", "initdb")
# Not needed to run: the C library is there, LLVM only serves the just-in-time compiler.
NEVER = ("libc6", "libc-", "libllvm", "libperl", "libpython")


class Unavailable(Exception):
    """The packages cannot be had here."""


def programs() -> Path:
    """Return the folder of PostgreSQL 15's programs; fetched at the first call, then kept."""
    place = _place()
    if not (place / BIN).is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pg15-", dir=place.parent) as folder:
            tree = Path(folder) / "tree"
            _unpack(PACKAGES, tree)
            if _missing_libraries(tree):
                _unpack(_library_packages(), tree)
            tree.chmod(0o755)
            tree.rename(place)
    _use_libraries(place)
    return place / BIN


def _place() -> Path:
    """Return `.jobengine/pg15`, or for root a folder that the server's user can enter."""
    place = Path(".jobengine").absolute() / "pg15"
    account = account_for(place)
    enterable = next(parent for parent in place.parents if parent.is_dir())
    return place if reachable(enterable, account) else base() / place.name


def _unpack(packages: tuple[str, ...], tree: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _download(packages, Path(folder))
        for package in sorted(Path(folder).glob("*.deb")):
            _run("dpkg", "-x", str(package), str(tree))


def _download(packages: tuple[str, ...], folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Unavailable("this is no Debian: there is no apt-get")
    try:
        _run("apt-get", "download", *packages, folder=folder)
    except subprocess.CalledProcessError:
        if os.geteuid() != 0:
            raise Unavailable(f"apt-get cannot download {' '.join(packages)}") from None
        _refresh_and_download(packages, folder)


def _refresh_and_download(packages: tuple[str, ...], folder: Path) -> None:
    """Try again with fresh package lists; only root may fetch them."""
    try:
        _run("apt-get", "update")
        _run("apt-get", "download", *packages, folder=folder)
    except subprocess.CalledProcessError as error:
        message = error.stderr.strip().splitlines()[-1:] or [""]
        raise Unavailable(f"apt-get cannot download {' '.join(packages)}: {message[0]}") from None


def _missing_libraries(tree: Path) -> bool:
    lists = [_run("ldd", str(tree / BIN / program)) for program in PROGRAMS]
    return any("not found" in found for found in lists)


def _library_packages() -> tuple[str, ...]:
    """Return every library that PostgreSQL's package needs and this system does not have."""
    options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks")]
    options += [f"--no-{kind}" for kind in ("replaces", "enhances")]
    needed = _run("apt-cache", "depends", "--recurse", *options, PACKAGES[0]).splitlines()
    installed = set(_run("dpkg-query", "-W", "-f=${Package}\n").splitlines())
    return tuple(
        name
        for name in sorted(set(needed) - installed)
        if name.startswith("lib") and not name.startswith(NEVER)
    )


def _use_libraries(place: Path) -> None:
    """Let the server find libraries that were unpacked beside it."""
    found = [*place.glob("usr/lib/*-linux-*/*.so.*"), *place.glob("lib/*-linux-*/*.so.*")]
    folders = sorted({str(file.parent) for file in found})
    if folders:
        os.environ["LD_LIBRARY_PATH"] = ":".join(folders)


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout

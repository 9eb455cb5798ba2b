"""A database cluster on disk: made at once or not at all, and what its pid file says."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from jobengine.embedded.account import run_as
from jobengine.embedded.binaries import Programs
from jobengine.embedded.errors import EmbeddedError
from jobengine.embedded.lifeline import ProcessRef

SUPERUSER = "postgres"
ROLE = DATABASE = "jobengine"
BUILTIN_LOCALE_SINCE = 17
ENVIRONMENT = {"LC_ALL": "C"}  # messages in one language; macOS refuses to start without a locale

# The application's role owns its database and may make the engine's roles. It is no superuser:
# a superuser passes by every row level security policy. Its own name is off its search path, which
# is by default the schema of that name first: the engine's, where no table of a program belongs.
BOOTSTRAP = f"""\
create role {ROLE} login nosuperuser nobypassrls createrole
alter role {ROLE} set search_path = public
create database {DATABASE} owner {ROLE}
"""


def exists(data: Path) -> bool:
    return (data / "PG_VERSION").exists()


def create(data: Path, programs: Programs, *, durable: bool) -> None:
    """Make the cluster with its role and database.

    It is made beside its place and renamed: killed at any moment, this leaves no half cluster.
    """
    if data.is_dir() and any(data.iterdir()):
        raise EmbeddedError(f"{data} is not empty and holds no database cluster")
    _remove_partial(data)
    partial = Path(tempfile.mkdtemp(prefix=f"{data.name}.new-", dir=data.parent))
    try:
        if programs.account is not None:
            os.chown(partial, programs.account.uid, programs.account.gid)
        _initdb(partial, programs, durable=durable)
        _bootstrap(partial, programs, durable=durable)
        partial.rename(data)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read_pid_file(data: Path) -> tuple[int, bool] | None:
    """The pid of the postmaster, and whether it accepts connections; None without a server."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        return int(lines[0]), len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - line 8
    except (OSError, ValueError, IndexError):
        return None


def clear_lock_files(data: Path, sockets: Path, known: ProcessRef | None) -> None:
    """Remove the lock files of a server that died, when its pid still means something.

    PostgreSQL only asks whether the pid is taken, and refuses to start when it is: by a zombie that
    nobody has collected yet, or by another process, as in containers, where pids are small. A pid
    that was not our server's is left for PostgreSQL to judge.
    """
    found = read_pid_file(data)
    if found and known and found[0] == known.pid and not known.alive():
        (data / "postmaster.pid").unlink(missing_ok=True)
        found = None
    if found is None:
        for path in sockets.glob(".s.PGSQL.*"):
            path.unlink(missing_ok=True)


def _remove_partial(data: Path) -> None:
    for path in data.parent.iterdir():
        if path.name.startswith(f"{data.name}.new-"):
            shutil.rmtree(path, ignore_errors=True)


def _initdb(folder: Path, programs: Programs, *, durable: bool) -> None:
    command = [str(programs.initdb), "-D", str(folder), "-U", SUPERUSER, "-E", "UTF8", "--locale=C"]
    if programs.major >= BUILTIN_LOCALE_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Trust is enough: the server listens on no port, and only its own user enters the folder of
    # its socket. Should a setting open a port nevertheless, nobody is let in through it.
    command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    if not durable:
        command.append("--no-sync")
    _run(command, programs)


def _bootstrap(folder: Path, programs: Programs, *, durable: bool) -> None:
    """Role and database, by a server that serves nobody else: no start is needed for it."""
    command = [str(programs.postgres), "--single", "-D", str(folder), "-c", "exit_on_error=on"]
    command += ["-c", "fsync=on" if durable else "fsync=off"]
    _run([*command, "postgres"], programs, statements=BOOTSTRAP)


def _run(command: list[str], programs: Programs, statements: str = "") -> None:
    """In a session of its own: Ctrl-C in the terminal is for the owner, which then ends this."""
    done = subprocess.run(
        command,
        input=statements,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        check=False,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
        **run_as(programs.account),
    )
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise EmbeddedError("\n".join([f"{Path(command[0]).name} failed", *lines]))

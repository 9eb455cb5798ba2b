"""Root may not run PostgreSQL: a server that root starts runs as another user.

Nothing of the machine is changed for that: no user is made, no foreign folder gets another mode.
What the other user cannot reach is copied or placed below one folder of ours.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from jobengine.embedded.errors import EmbeddedError

if sys.platform != "win32":
    import pwd

BASE = Path("/var/tmp/jobengine-root")  # noqa: S108 - owner and mode are checked before any use


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


class RunAs(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None


def run_as(account: Account | None) -> RunAs:
    """Arguments for `subprocess`: drop to the account, without root's supplementary groups."""
    if account is None:
        return RunAs(user=None, group=None, extra_groups=None)
    return RunAs(user=account.uid, group=account.gid, extra_groups=[])


def account_for(data: Path) -> Account | None:
    """None for an ordinary user. For root: the owner of an existing folder, else `nobody`."""
    if os.geteuid() != 0:
        return None
    if data.is_dir() and (found := data.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedError("PostgreSQL refuses root, and there is no user `nobody`") from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def reachable(folder: Path, account: Account | None) -> bool:
    """Can the account enter the folder? Asked of the system, which knows about ACLs."""
    if account is None:
        return True
    command = ["/bin/sh", "-c", 'test -x "$1"', "reachable", str(folder)]
    return subprocess.run(command, cwd="/", check=False, **run_as(account)).returncode == 0


def base() -> Path:
    """Our folder, in a place where everybody may write: no link, and only root changes it."""
    try:
        BASE.mkdir(mode=0o755)
        BASE.chmod(0o755)  # whatever the umask was
    except FileExistsError:
        pass
    found = BASE.lstat()
    if BASE.is_symlink() or not BASE.is_dir() or found.st_uid != 0 or found.st_mode & 0o022:
        raise EmbeddedError(f"{BASE} is not a folder that only root can change: remove it")
    return BASE

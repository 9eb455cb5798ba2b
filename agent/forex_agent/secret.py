"""Files that hold a secret: written for their owner only, refused when others may read them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

OWNER_ONLY = 0o600


class Exposed(Exception):
    """Others may read the file, or it is not there."""


def write(path: Path, secret: str) -> None:
    """Write the secret so that the file has mode 600 from its first moment on."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read(path: Path) -> str:
    """Return the secret; raises `Exposed`."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        # Windows has no such modes: the user's folder is the protection there.
        if sys.platform != "win32" and mode & 0o077:
            raise Exposed(f"{path} may be read by others (mode {mode:o}): chmod 600 {path}")
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Exposed(f"{path} cannot be read: {error.strerror}") from error
    if not secret:
        raise Exposed(f"{path} is empty")
    return secret

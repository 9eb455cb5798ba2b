"""Every setting of the library that the environment may give, in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings; `from_environment` says which variable feeds which."""

    database_url: str | None = None
    data_dir: Path = Path(".jobengine")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """DATABASE_URL (none: an embedded server), JOBENGINE_DATA_DIR (where that one lives)."""
        return cls(
            database_url=environ.get("DATABASE_URL") or None,
            data_dir=Path(environ.get("JOBENGINE_DATA_DIR") or ".jobengine"),
        )

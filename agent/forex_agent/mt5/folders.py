"""Where the terminal keeps its programs, and where its compiler is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from forex_agent.mt5.settings import MT5Settings
from forex_agent.mt5.texts import decoded
from forex_agent.terminal import NotSent

EDITOR = "MetaEditor64.exe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """`editor` is MetaEditor64.exe; `data` the terminal's data folder, the one that holds MQL5."""

    editor: Path
    data: Path

    @property
    def experts(self) -> Path:
        """The folder of the expert advisors; `NotSent` where the data folder is none."""
        folder = self.data / "MQL5" / "Experts"
        if not folder.is_dir():
            raise NotSent("not_sent", f"{folder} is not there: is this the terminal's data folder?")
        return folder

    @property
    def presets(self) -> Path:
        """The folder of saved inputs."""
        return self.data / "MQL5" / "Presets"


def locate(settings: MT5Settings, environ: Mapping[str, str] = os.environ) -> Folders:
    """Find both from the terminal's path; `NotSent` says what is missing.

    A portable terminal keeps its data beside itself. Others have a folder in
    %APPDATA%/MetaQuotes/Terminal, whose origin.txt says which terminal it belongs to.
    """
    if settings.path is None:
        raise NotSent("not_sent", "for expert advisors the terminal's path must be set (mt5_path)")
    home = settings.path.parent
    data = home if settings.portable else _data_of(home, environ)
    return Folders(editor=home / EDITOR, data=data)


def _data_of(home: Path, environ: Mapping[str, str]) -> Path:
    roaming = Path(environ.get("APPDATA", "")) / "MetaQuotes" / "Terminal"
    for origin in sorted(roaming.glob("*/origin.txt")):
        if _same(decoded(origin.read_bytes()), home):
            return origin.parent
    raise NotSent("not_sent", f"no folder in {roaming} belongs to the terminal in {home}")


def _same(origin: str, home: Path) -> bool:
    return list(_parts(origin.strip())) == list(_parts(str(home)))


def _parts(path: str) -> Iterator[str]:
    """Yield the parts in lower case, whichever slash is between them: as Windows compares."""
    yield from (part.lower() for part in path.replace("\\", "/").split("/") if part)

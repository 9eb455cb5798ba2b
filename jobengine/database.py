"""The database that a program is to use: the one that was given, or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobengine.settings import Settings


@contextmanager
def given_or_embedded(settings: Settings, progress: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL that the settings name, or that of an embedded server, stopped at the end.

    The server lives in the folder `postgres` of the data folder; a second process joins that of
    the first. `progress` is told what takes a while.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    from jobengine.embedded import EmbeddedPostgres  # noqa: PLC0415 - an extra, not always there

    with EmbeddedPostgres(settings.data_dir / "postgres", progress=progress) as server:
        yield server.url

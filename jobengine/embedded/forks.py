"""A forked child copies every descriptor of its parent: here it lets go of those it must not hold.

Without this a worker forked by the owner would keep the lifeline and the lock of the owner alive.
"""

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    def forget(self) -> None:
        """Drop what belongs to the parent process; called in a forked child."""


_tracked: WeakSet[ForkAware] = WeakSet()


def track(resource: ForkAware) -> None:
    _tracked.add(resource)


def _forget_all() -> None:
    for resource in list(_tracked):
        resource.forget()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_all)

"""What must not be inherited by a forked child: locks somebody held, flights nobody leads, threads that are not there."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something with state that only makes sense in the process that made it."""

    def renew_after_fork(self) -> None:
        """Throw that state away. Called in the child, where no other thread runs."""
        ...


_registered: WeakSet[Renewable] = WeakSet()


def register(thing: Renewable) -> None:
    """Have ``thing`` renewed in every child forked from now on, for as long as it lives."""
    _registered.add(thing)


def _renew_all() -> None:
    for thing in list(_registered):
        thing.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

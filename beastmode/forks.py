"""What must be made anew in a forked child: locks that another thread held, random streams, threads, files."""

import functools
import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What holds something that a fork breaks."""

    def after_fork(self) -> None:
        """Make it anew; called in the child, before it runs anything else."""


def renew_after_fork(owner: Forked) -> None:
    """Call `owner.after_fork()` in every child that is forked while `owner` lives."""
    _owners().add(owner)


@functools.cache
def _owners() -> "weakref.WeakSet[Forked]":
    owners: weakref.WeakSet[Forked] = weakref.WeakSet()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(_renew, owners))
    return owners


def _renew(owners: "weakref.WeakSet[Forked]") -> None:
    for owner in list(owners):
        owner.after_fork()

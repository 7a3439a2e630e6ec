"""Giving up root.

SageMaker demands that a container starts as root: it copies the model in as root, and says so in its documentation of
inference code. What answers requests needs none of that, so `serve` reads the bundle, takes its port, and becomes
somebody who owns nothing. `train` stays: its folders are root's, and network isolation leaves nobody to talk to it.
"""

from __future__ import annotations

import os


class CannotDrop(Exception):
    """The process is neither root nor who it should become."""


def become(user: int) -> None:
    """Go on as `user` with the group of the same number, for good. 0 says: stay who you are. CannotDrop."""
    if not user or os.geteuid() == user:
        return
    if os.geteuid() != 0:
        raise CannotDrop(f"run_as is {user}, but only root can become somebody else, and this is {os.geteuid()}")
    try:
        os.setgroups([])
        # The group first: afterwards nobody would be allowed to.
        os.setgid(user)
        os.setuid(user)
    except PermissionError as error:
        raise CannotDrop(f"this root may not become {user}: {error.strerror}") from None

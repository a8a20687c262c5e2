"""The user of this process, as Slurm sees them."""

from __future__ import annotations

import grp
import os
import pwd
import socket

from launcher.slurm.access import SlurmUser


def user_name() -> str:
    """Return the name of the real user: Slurm looks at the user id, not at $USER."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def this_user() -> SlurmUser:
    """Return what the rules of partitions look at."""
    return SlurmUser(
        name=user_name(),
        groups=frozenset(map(_group_name, {os.getgid(), *os.getgroups()})),
        is_root=os.getuid() == 0,
        host=socket.gethostname().partition(".")[0],
    )


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)

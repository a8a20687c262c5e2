"""Folders that a group shares: what one of its users creates there, the others can write to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def create_for_group(folder: Path) -> Iterator[None]:
    """Let the group write to what this process creates meanwhile, if a folder is the group's.

    That is one that its group may write to, and whose group new files get: as after `chmod g+ws`.
    With `umask 002` everything is so, but a forgotten umask would lock the others out for good.

    Args:
        folder: It, or the nearest folder above it that exists, is looked at.
    """
    before = os.umask(0o077)
    os.umask(before & ~stat.S_IRWXG if _is_of_group(folder) else before)
    try:
        yield
    finally:
        os.umask(before)


def _is_of_group(folder: Path) -> bool:
    for place in (folder, *folder.parents):
        try:
            found = place.stat()
        except OSError:
            continue
        is_everybodys = found.st_mode & stat.S_IWOTH
        has_own_group = found.st_gid == os.getegid() and not is_everybodys
        is_of_group = found.st_mode & stat.S_ISGID or has_own_group
        return bool(is_of_group and found.st_mode & stat.S_IWGRP)
    return False

"""How a change becomes final, or never happens, when two processes may believe that it is theirs.

A process may be stopped at any line, be passed over by another one, and go on minutes later. So
whatever it changes is prepared under a temporary name; then the fence is asked; then one rename
makes it final. Who takes over sweeps the temporary names away before anything else: after that the
rename of the other fails, and a new temporary name does not get past the fence. The fence is asked
at the beginning too, so that a process that has been passed over leaves no remains.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

logger = logging.getLogger(__name__)

Fence = Callable[[], None]
"""Returns if this process may write; otherwise it raises, or ends the process."""

_PREFIX = ".tmp-"


def unfenced() -> None:
    """The fence of a process that nobody takes over from."""


def temporary_beside(path: Path) -> Path:
    """A name of its own in the same folder, for what is worthless once its process is gone."""
    return path.with_name(f"{_PREFIX}{path.name}-{uuid4().hex}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is worthless once its process is gone."""
    return name.startswith(_PREFIX)


def make_final(temporary: Path, path: Path, fence: Fence) -> None:
    """Give something its final name, if this process may; a file that bears it is replaced."""
    fence()
    try:
        temporary.rename(path)
    except FileNotFoundError:
        fence()  # it may be that somebody has taken over since, and has swept it away
        raise


def move_away(path: Path, fence: Fence) -> Path:
    """Move a file or folder into a temporary folder of its own; gives its path there.

    Raises:
        OSError: That failed; an empty temporary folder may be left.
    """
    fence()
    aside = temporary_beside(path)
    aside.mkdir()
    make_final(path, aside / path.name, fence)
    return aside / path.name


def sweep(folder: Path, fence: Fence) -> None:
    """Remove all that is temporary in a folder; what cannot be removed costs a warning."""
    fence()
    trash = temporary_beside(folder / "trash")
    trash.mkdir()
    fence()
    for leftover in folder.glob(f"{_PREFIX}*"):
        if leftover != trash:
            try:
                with suppress(FileNotFoundError):
                    leftover.rename(trash / leftover.name)
            except OSError as error:
                logger.warning(
                    "cannot delete %s: %s; it takes up space until that is possible",
                    leftover,
                    error,
                )
    shutil.rmtree(trash, ignore_errors=True)

"""LauncherError            a request that cannot be met as it stands
|- DoesNotFitError        a run asks for more than the cluster has
|- SubmissionError        the job could not be started
|  `- UnknownSubmissionError  or it was; Slurm does not say
|- LockHeldError          another process holds a lock for longer than this one waits
|- SlurmError             a Slurm command failed, or timed out
`- FilesError             files of a run cannot be read or written, now or by this user

An OSError that nothing is added to passes as it is; `launcher.os_errors` words it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from attrs import define


class LauncherError(Exception):
    """Base of everything that `launcher` raises on purpose."""


class DoesNotFitError(LauncherError):
    """A run asks for more than the cluster has."""


class SubmissionError(LauncherError):
    """The job could not be started; the message ends with its output."""


class UnknownSubmissionError(SubmissionError):
    """Whether Slurm has taken the jobs is not known: their runs stay submitted until it is."""


class LockHeldError(LauncherError):
    """Another process holds a lock for longer than this one waits; the message names it."""


@define
class SlurmError(LauncherError):
    """A Slurm command failed, is missing, or timed out."""

    command: str
    output: str
    """Its output, or why there is none."""

    def __str__(self) -> str:
        return f"`{self.command}`: {self.output}"


_AWAY = re.compile(
    r"unable to contact slurm|no answer within|timed out|connect failure|communication"
    r"|connection (refused|reset|failure|timed)|zero bytes|temporarily unable|standby|try again"
    r"|exit code -",
    re.IGNORECASE,
)


def is_slurm_away(error: LauncherError) -> bool:
    """Return whether Slurm did not answer, or not yet: it refused nothing, and may be asked again.

    Any command fails so while its controller restarts, or when Slurm signals a job and with it the
    command that the job has just started; the text is all that tells.
    """
    return _AWAY.search(str(error)) is not None


class FilesError(LauncherError):
    """Files of a run cannot be read or written, at present or by this user."""


def suggestions(word: str, known: Iterable[str], *, most: int | None = None) -> str:
    """Return the end of an error message: the nearest known name, if any is near, and all of them.

    Such as `did you mean 'gpu'? available: cpu, gpu`.

    Args:
        most: How many names to list; None for all.
    """
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = known[:most]
    more = f" and {len(known) - len(shown)} more" if len(shown) < len(known) else ""
    return f"{hint}available: {', '.join(shown) or 'none'}{more}"

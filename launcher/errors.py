"""LauncherError            a request that cannot be met as it stands
|- DoesNotFitError        a run asks for more than the cluster has
|- SubmissionError        the job could not be started
`- SlurmError             Slurm refused, or did not answer
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from attrs import define


class LauncherError(Exception):
    """Base of everything that `launcher` raises on purpose."""


class DoesNotFitError(LauncherError):
    """A run asks for more than the cluster has."""


class SubmissionError(LauncherError):
    """The job could not be started; the message ends with what it said."""


@define
class SlurmError(LauncherError):
    """One of Slurm's programs could not do what it was asked to."""

    command: str
    said: str
    """What it printed, or how it failed to."""

    def __str__(self) -> str:
        return f"`{self.command}`: {self.said}"


def suggestions(word: str, known: Iterable[str]) -> str:
    """The part of a message that says what to take instead of a word."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}there are: {', '.join(known) or 'none'}"

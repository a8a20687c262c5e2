"""LauncherError            a request that cannot be met as it stands
|- DoesNotFitError        a run asks for more than the cluster has
`- SubmissionError        the job could not be started
"""

from __future__ import annotations


class LauncherError(Exception):
    """Base of everything that `launcher` raises on purpose."""


class DoesNotFitError(LauncherError):
    """A run asks for more than the cluster has."""


class SubmissionError(LauncherError):
    """The job could not be started; the message ends with what it said."""

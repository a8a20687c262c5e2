"""What the exit status of `launch` tells."""

from __future__ import annotations

OK = 0
RUN_FAILED = 1
"""Or was left unfinished; only with --wait, and for debug."""
UNUSABLE = 2
"""Usage, or a config."""
NOTHING_TO_DO = 3
DOES_NOT_FIT = 4
REFUSED = 5
"""The scheduler, or this machine, did not start the job."""
PARTLY_SUBMITTED = 6
"""Some jobs were taken, and the message names them; the runs of the others are as they were."""
NOT_VALID = 7
"""A checkpoint is damaged, or not one of its run."""
INTERRUPTED = 130

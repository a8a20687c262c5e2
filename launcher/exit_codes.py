"""The exit codes of `launch`."""

from __future__ import annotations

OK = 0
RUN_FAILED = 1
"""A run failed, or was left unfinished; only with --wait, and for clusters of kind debug."""
UNUSABLE = 2
"""The command line or a config has faults."""
NOTHING_TO_DO = 3
DOES_NOT_FIT = 4
REFUSED = 5
"""Slurm, or this machine, did not start the job, or Slurm did not answer."""
PARTLY_SUBMITTED = 6
"""Some jobs were accepted, and the output lists them; the runs of the others are unchanged."""
NOT_VALID = 7
"""A checkpoint is damaged, or belongs to another run."""
UNAVAILABLE = 8
"""A file, a disk or this machine could not be used, or refused access; see `launcher.os_errors`."""
BUG = 70
"""An error that `launch` does not expect, with a traceback. EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130

"""Exit codes of `python -m trainers`, by which the launcher decides about a retry."""

from __future__ import annotations

FINISHED = 0
FAILED = 1
UNUSABLE = 2
"""The run folder, its config, data or checkpoints are not usable; a retry cannot help."""
NOTHING_TO_DO = 3
"""Another process holds the run's lease, or has taken it over; the run's state is up to it."""
OUT_OF_MEMORY = 4
"""Failed for lack of memory, of the machine or of the GPU."""
STOPPED = 75
"""Stopped on request with a committed checkpoint; resume it. EX_TEMPFAIL of sysexits.h."""

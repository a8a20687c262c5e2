"""Exit codes of `python -m trainers`, by which the launcher decides about a retry.

Each class of failure has one; `trainers.run.failure_class` maps exceptions to them.
"""

from __future__ import annotations

FINISHED = 0
FAILED = 1
"""Failed in a way of its own: an exception in user code, say."""
UNUSABLE = 2
"""Wrong: config, data or checkpoints are not usable as they are; a retry cannot help."""
NOTHING_TO_DO = 3
"""Another process holds the run's lease, or has taken it over; the run's state is up to it."""
OUT_OF_MEMORY = 4
"""Failed for lack of memory, of the machine or of the GPU."""
UNAVAILABLE = 5
"""Data, a disk or a server stayed away for longer than the run waits; it may be back later."""
NODE_FAULT = 6
"""This node or its GPU is at fault: try again elsewhere."""
NON_FINITE = 7
"""Loss, gradients or weights became NaN or infinite."""
HANG = 8
"""The watchdog ended the process: one of its sections made no progress."""
RANK_LOST = 9
"""Another rank of the run did not join, or was lost; its own exit code says why, if it has one."""
STOPPED = 75
"""Stopped on request with a committed checkpoint; resume it. EX_TEMPFAIL of sysexits.h."""

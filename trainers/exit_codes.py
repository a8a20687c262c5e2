"""What the exit status of `python -m trainers` tells whoever started it."""

from __future__ import annotations

FINISHED = 0
FAILED = 1
UNUSABLE = 2
"""The run folder, its config or its data cannot be used; trying again will not help."""
NOTHING_TO_DO = 3
"""Another process trains the run, or has taken over from this one; its state is none of ours."""
OUT_OF_MEMORY = 4
"""Failed, for the machine's memory or that of its GPU was too small."""
STOPPED = 75
"""Asked to stop, and did, with a committed checkpoint: start it again. EX_TEMPFAIL of sysexits."""

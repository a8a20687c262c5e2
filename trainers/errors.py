"""TrainerError
|- ConfigError                 the user can fix it in a file
|  `- MalformedError           plain data that are no config: `faults.py`
|- DataError                   a volume cannot be read, or is not what the config says
|- StreamError                 the data stream broke; carries the worker's own traceback
|- RankError                   the other ranks of the run did not come, or were lost
|- CheckpointError             the files of a checkpoint are not usable
|  `- DamagedCheckpointError   they are not what was written: `checkpoints/errors.py`
|- LeaseHeldError              another process writes this folder: the run or pack is its own
`- LeaseLostError              another process has taken over; nothing may be written any more
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of everything that `trainers` raises on purpose."""


class ConfigError(TrainerError):
    """A config file or a combination of values is not acceptable."""


class DataError(TrainerError):
    """A volume cannot be read, or is not what the config says."""


class StreamError(TrainerError):
    """The data stream broke; the message holds the traceback of the worker."""


class RankError(TrainerError):
    """The other ranks of the run did not come, or were lost."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, partial, damaged or of another version."""


class LeaseHeldError(TrainerError):
    """Another process holds the lease."""


class LeaseLostError(TrainerError):
    """Another process has taken the lease over; this one may write nothing any more."""


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are not what was written."""

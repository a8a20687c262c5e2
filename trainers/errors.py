"""The errors of this package.

TrainerError
|- ConfigError                 a config that its author can fix
|  `- MalformedError           plain data that are not a config: `config_faults.py`
|- DataError                   a volume cannot be read, or is not what the config says
|- StreamError                 a data worker failed; carries its traceback
|- RankError                   other ranks did not join, or were lost
|- CheckpointError             the files of a checkpoint are not usable
|  `- DamagedCheckpointError   they are not what was written
|- LeaseHeldError              another process holds the lease of this folder
`- LeaseLostError              another process has taken over; this one must not write any more
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of everything that `trainers` raises on purpose."""


class ConfigError(TrainerError):
    """A config file or a combination of values is not acceptable."""


class DataError(TrainerError):
    """A volume cannot be read, or is not what the config says."""


class StreamError(TrainerError):
    """A data worker failed; the message holds its traceback."""


class RankError(TrainerError):
    """Other ranks of the run did not join, or were lost."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, partial, damaged or of another version."""


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are not what was written."""


class LeaseHeldError(TrainerError):
    """Another process holds the lease."""


class LeaseLostError(TrainerError):
    """Another process has taken over the lease; this one must not write any more."""

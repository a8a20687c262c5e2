"""TrainerError
|- ConfigError                 the user can fix it in a file
|  `- MalformedError           plain data that are no config: `faults.py`
|- DataError                   a volume cannot be read, or is not what the config says
|- StreamError                 the data stream broke; carries the worker's own traceback
|- CheckpointError             the files of a checkpoint are not usable
|  `- DamagedCheckpointError   they are not what was written: `checkpoints/errors.py`
`- RunLockedError              another process is training this run
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


class CheckpointError(TrainerError):
    """A checkpoint is missing, partial, damaged or of another version."""


class RunLockedError(TrainerError):
    """Another process is training this run."""

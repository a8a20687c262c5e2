"""The errors of this package, each of one class of failure: see docs/failures.md.

TrainerError
|- ConfigError                    wrong: a config that its author can fix
|  `- MalformedError              plain data that are not a config: `config_faults.py`
|- DataError                      wrong: a volume is not what the config says
|- CheckpointError                wrong: the files of a checkpoint are not usable
|  `- DamagedCheckpointError      they are not what was written
|- UnavailableError               of this moment: data, a disk or a server is away
|  |- StateUnavailableError       the state of a run cannot be read at present; also a ConfigError
|  |- LeaseUnreadableError        nor can its lease; also an OSError
|  |- DataUnavailableError        a volume cannot be read at present; also a DataError
|  `- StorageUnavailableError     a checkpoint cannot be written or read at present; also a
|                                 CheckpointError
|- NodeFaultError                 of this node: its GPU cannot be used, or computes wrongly
|- NonFiniteError                 of the run: loss, gradients or weights are NaN or infinite
|- StreamError                    of the run: a data worker failed; carries its traceback
|- RankError                      other ranks did not join, or were lost
|- StopRequestedError             of the outside: a stop was requested while this process waited
|- LeaseHeldError                 another process holds the lease of this folder
`- LeaseLostError                 another process has taken over; this one must not write any more
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of everything that `trainers` raises on purpose."""


class ConfigError(TrainerError):
    """A config file or a combination of values is not acceptable."""


class DataError(TrainerError):
    """A volume is not what the config says, or holds unusable values."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, partial, damaged or of another version."""


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are not what was written."""


class UnavailableError(TrainerError):
    """Data, a disk or a server is away, and was waited for in vain; it may be back later."""


class StateUnavailableError(ConfigError, UnavailableError):
    """The state of a run cannot be read at present, or is missing though the run is not new."""


class LeaseUnreadableError(UnavailableError, OSError):
    """Nobody can say at present who holds a lease; no reason to stop, and none to write."""


class DataUnavailableError(DataError, UnavailableError):
    """A volume cannot be read at present."""


class StorageUnavailableError(CheckpointError, UnavailableError):
    """The file system refuses to write or read a checkpoint at present; older ones are whole."""


class NodeFaultError(TrainerError):
    """This node cannot train the run: its GPU is missing, faulty, or computes wrongly."""


class NonFiniteError(TrainerError):
    """Loss, gradients or weights became NaN or infinite."""


class StreamError(TrainerError):
    """A data worker failed; the message holds its traceback."""


class RankError(TrainerError):
    """Other ranks of the run did not join, or were lost."""


class StopRequestedError(TrainerError):
    """A stop was requested while this process waited for something."""


class LeaseHeldError(TrainerError):
    """Another process holds the lease."""


class LeaseLostError(TrainerError):
    """Another process has taken over the lease; this one must not write any more."""

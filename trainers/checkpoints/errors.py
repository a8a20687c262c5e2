"""CheckpointError
`- DamagedCheckpointError    the files are not what was written; an earlier checkpoint may serve
"""

from __future__ import annotations

from trainers.errors import CheckpointError


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are not what was written."""

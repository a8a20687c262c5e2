"""Save and restore a run, so that it resumes bit for bit wherever it was stopped.

Light: nothing here imports torch until a state is saved or read.
"""

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.checkpoints.retention import KeepBest, Retention

__all__ = ["Checkpoint", "CheckpointReader", "CheckpointStore", "KeepBest", "Retention"]

"""Saving a run, so that it goes on bit for bit wherever it was stopped."""

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore

__all__ = ["Checkpoint", "CheckpointReader", "CheckpointStore"]

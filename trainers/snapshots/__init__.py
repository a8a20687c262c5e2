"""Snapshots: images of the samples, targets and predictions of an iteration."""

from trainers.snapshots.snapshot_writer import SnapshotWriter

__all__ = ["SnapshotWriter"]

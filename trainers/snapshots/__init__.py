"""Pictures of what a trainer saw."""

from trainers.snapshots.snapshot_writer import SnapshotWriter

__all__ = ["SnapshotWriter"]

"""One checkpoint, read with every check."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.checkpoints.aligned_memory import aligned_memory
from trainers.checkpoints.checkpoint_files import DataFile, open_checkpoint
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.safetensors_header import TensorSpan, parse_header
from trainers.checkpoints.state_decoder import check_skeleton, decode

if TYPE_CHECKING:
    import torch


class Checkpoint:
    """A run as it was after `iteration` iterations. All of it has been checked."""

    def __init__(
        self, manifest: Manifest, spans: Mapping[str, tuple[mmap.mmap, TensorSpan]]
    ) -> None:
        """Use `read_checkpoint`."""
        self.manifest = manifest
        self._spans = spans
        self._state: Any = None

    @property
    def iteration(self) -> int:
        return self.manifest.iteration

    @property
    def state(self) -> Any:
        """What was saved; the same object each time. Imports torch.

        The tensors are views of the memory that the files were read into: copy what is to be
        changed, or to outlive this.
        """
        if self._state is None:
            self._state = decode(self.manifest.state, self._tensor)
        return self._state

    def release(self) -> None:
        """Give the memory back, as far as nobody else holds a tensor; the state is gone."""
        self._spans, self._state = {}, None

    def _tensor(self, name: str) -> torch.Tensor:
        from trainers.checkpoints.safetensors_torch import as_bytes, tensor_at

        memory, span = self._spans[name]
        return tensor_at(as_bytes(memory), span)


def read_checkpoint(
    path: Path, *, identity: str | None = None, what_counts: Mapping[str, Any] = {}
) -> Checkpoint:
    """Read the folder of one checkpoint.

    Nothing in it can run: it holds JSON and safetensors. Files are read plainly and never mapped,
    and every byte is compared with its hash before it is used.

    Args:
        identity, what_counts: See `open_checkpoint`.

    Raises:
        DamagedCheckpointError: It is not what was written.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with open_checkpoint(path, identity=identity, what_counts=what_counts) as files:
        spans: dict[str, tuple[mmap.mmap, TensorSpan]] = {}
        for file in files.data:
            memory, parsed = _read(file)
            spans.update({name: (memory, span) for name, span in parsed.items()})
        check_skeleton(files.manifest.state, spans)
        return Checkpoint(files.manifest, spans)


def _read(file: DataFile) -> tuple[mmap.mmap, dict[str, TensorSpan]]:
    memory = aligned_memory(file.record.num_bytes)
    view = memoryview(memory)
    file.check(lambda start, end: view[start:end])
    return memory, parse_header(view[: file.record.num_bytes], file.record.num_bytes)

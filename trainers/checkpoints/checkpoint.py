"""One checkpoint, read and checked in full."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.checkpoints.aligned_memory import aligned_memory
from trainers.checkpoints.checkpoint_files import DataFile, open_checkpoint
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.safetensors_header import TensorSpan, parse_header
from trainers.checkpoints.state_decoder import check_tree_structure, decode

if TYPE_CHECKING:
    import torch


class Checkpoint:
    """The state of a run after `iteration` iterations. Every byte of it has been checked."""

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
        """The saved state; the same object each time. Imports torch.

        Tensors are views of the memory that the files were read into: copy what you change, or
        keep longer than this object.
        """
        if self._state is None:
            self._state = decode(self.manifest.state, self._tensor)
        return self._state

    def release(self) -> None:
        """Drop the state; its memory is freed once no caller holds a tensor of it."""
        self._spans, self._state = {}, None

    def _tensor(self, name: str) -> torch.Tensor:
        from trainers.checkpoints.safetensors_torch import as_bytes, tensor_at

        memory, span = self._spans[name]
        return tensor_at(as_bytes(memory), span)


def read_checkpoint(
    path: Path, *, fingerprint: str | None = None, fingerprint_fields: Mapping[str, Any] = {}
) -> Checkpoint:
    """Read the folder of one checkpoint.

    Loading executes nothing: the files are JSON and safetensors, never a pickle. Every byte is
    compared with its checksum before it is used. Files are read and never mapped: on network file
    systems mmap of safetensors is 30 to 50 times slower, and can end in SIGBUS on Lustre.

    Args:
        fingerprint, fingerprint_fields: See `open_checkpoint`.

    Raises:
        DamagedCheckpointError: It is not what was written.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with open_checkpoint(
        path, fingerprint=fingerprint, fingerprint_fields=fingerprint_fields
    ) as files:
        spans: dict[str, tuple[mmap.mmap, TensorSpan]] = {}
        for file in files.data:
            memory, parsed = _read(file)
            spans.update({name: (memory, span) for name, span in parsed.items()})
        check_tree_structure(files.manifest.state, spans)
        return Checkpoint(files.manifest, spans)


def _read(file: DataFile) -> tuple[mmap.mmap, dict[str, TensorSpan]]:
    memory = aligned_memory(file.record.num_bytes)
    view = memoryview(memory)
    file.check(lambda start, end: view[start:end])
    return memory, parse_header(view[: file.record.num_bytes], file.record.num_bytes)

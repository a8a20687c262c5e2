"""What a manifest remembers of one file."""

from __future__ import annotations

from typing import Any

import xxhash
from attrs import field, frozen
from attrs.validators import deep_iterable, ge, instance_of, matches_re

from trainers.checkpoints.chunks import CHUNK_BYTES, num_chunks
from trainers.checkpoints.errors import DamagedCheckpointError


@frozen(kw_only=True)
class FileRecord:
    """Name, length and hashes of a data file."""

    name: str = field(validator=matches_re(r"rank-[0-9]{5}\.safetensors"))
    """Never a path: nothing outside the checkpoint's own folder is read."""
    num_bytes: int = field(validator=[instance_of(int), ge(0)])
    xxh3_128_per_16_mib: tuple[str, ...] = field(validator=deep_iterable(instance_of(str)))

    def __attrs_post_init__(self) -> None:
        have, want = len(self.xxh3_128_per_16_mib), num_chunks(self.num_bytes)
        if have != want:
            raise ValueError(f"{self.name} has {want} chunks; the manifest holds {have} hashes")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FileRecord:
        """The inverse of `attrs.asdict`.

        Raises:
            KeyError, TypeError, ValueError: A field is missing, unknown, or not acceptable.
        """
        return cls(**{**content, "xxh3_128_per_16_mib": tuple(content["xxh3_128_per_16_mib"])})

    def check_chunk(self, start: int, end: int, have: str) -> None:
        """Compare the hash of what a file holds between two bytes with that of what was written.

        Raises:
            DamagedCheckpointError: They differ; the message says where.
        """
        want = self.xxh3_128_per_16_mib[start // CHUNK_BYTES]
        if have != want:
            raise DamagedCheckpointError(
                f"{self.name} has changed between its bytes {start:,} and "
                f"{end:,}: the hash is {have}, {want} was written"
            )


def hash_chunk(chunk: memoryview) -> str:
    return xxhash.xxh3_128_hexdigest(chunk)

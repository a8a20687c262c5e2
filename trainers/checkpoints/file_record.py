"""What a manifest remembers of one file."""

from __future__ import annotations

from typing import Any

import xxhash
from attrs import field, frozen
from attrs.validators import deep_iterable, ge, instance_of, matches_re

from trainers.checkpoints.errors import DamagedCheckpointError

CHUNK_BYTES = 16 * 2**20


@frozen(kw_only=True)
class FileRecord:
    """Name, length and hashes of a data file."""

    name: str = field(validator=matches_re(r"rank-[0-9]{5}\.safetensors"))
    """Never a path: nothing outside the checkpoint's own folder is read."""
    num_bytes: int = field(validator=[instance_of(int), ge(0)])
    xxh3_128_per_16_mib: tuple[str, ...] = field(validator=deep_iterable(instance_of(str)))

    @classmethod
    def of(cls, name: str, data: memoryview) -> FileRecord:
        return cls(name=name, num_bytes=len(data), xxh3_128_per_16_mib=_hashes(data))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FileRecord:
        """The inverse of `attrs.asdict`.

        Raises:
            KeyError, TypeError, ValueError: A field is missing, unknown, or not acceptable.
        """
        return cls(**{**content, "xxh3_128_per_16_mib": tuple(content["xxh3_128_per_16_mib"])})

    def check(self, data: bytes) -> None:
        """Compare the content of the file with what was written.

        Raises:
            DamagedCheckpointError: They differ; the message says where.
        """
        if len(data) != self.num_bytes:
            raise DamagedCheckpointError(
                f"{self.name} has {len(data):,} bytes; {self.num_bytes:,} were written"
            )
        found = _hashes(memoryview(data))
        if len(found) != len(self.xxh3_128_per_16_mib):
            raise DamagedCheckpointError(
                f"{self.name} has {len(found)} chunks; "
                f"the manifest holds {len(self.xxh3_128_per_16_mib)} hashes"
            )
        for index, (have, want) in enumerate(zip(found, self.xxh3_128_per_16_mib, strict=True)):
            if have != want:
                start = index * CHUNK_BYTES
                raise DamagedCheckpointError(
                    f"{self.name} has changed between its bytes {start:,} and "
                    f"{min(start + CHUNK_BYTES, self.num_bytes):,}: "
                    f"the hash is {have}, {want} was written"
                )


def _hashes(data: memoryview) -> tuple[str, ...]:
    return tuple(
        xxhash.xxh3_128_hexdigest(data[start : start + CHUNK_BYTES])
        for start in range(0, len(data), CHUNK_BYTES)
    )

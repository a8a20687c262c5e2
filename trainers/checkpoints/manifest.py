"""What a checkpoint says about itself; written after its data."""

from __future__ import annotations

import json
from typing import Any

import attrs
import xxhash
from attrs import field, frozen
from attrs.validators import deep_mapping, ge, instance_of

from trainers.checkpoints.data_file import FileRecord
from trainers.checkpoints.layout import MANIFEST_NAME
from trainers.errors import CheckpointError, DamagedCheckpointError

SCHEMA_VERSION = 2
MAX_BYTES = 64 * 2**20
"""To parse JSON can take forty times its length in memory."""
_SEAL = "xxh3_128"


@frozen(kw_only=True)
class Manifest:
    """All of a checkpoint but its tensors.

    On disk: a JSON object whose last entry is the hash of the others. This outer form is the same
    in every schema version, so that a newer file is told from a damaged one.
    """

    iteration: int = field(validator=[instance_of(int), ge(0)])
    identity: str = field(validator=instance_of(str))
    """Of the run: the hash of `what_counts`."""
    what_counts: dict[str, Any] = field(validator=instance_of(dict))
    """What determines the run's result, as plain data."""
    environment: dict[str, str] = field(validator=deep_mapping(instance_of(str), instance_of(str)))
    """What else decides the last bits; see `trainers.training.determinism`."""
    metrics: dict[str, float] = field(validator=deep_mapping(instance_of(str), instance_of(float)))
    """Finite means over the iterations that led here."""
    files: tuple[FileRecord, ...]
    state: Any
    """The skeleton of the saved state; see `skeleton`."""

    def __attrs_post_init__(self) -> None:
        names = [each.name for each in self.files]
        if len(set(names)) != len(names):
            raise ValueError(f"a file is named twice: {', '.join(names)}"[:200])

    def to_bytes(self) -> bytes:
        """What stands in the file.

        Raises:
            CheckpointError: It is longer than is ever read.
        """
        content = sealed(
            {
                "schema_version": SCHEMA_VERSION,
                **attrs.asdict(self, recurse=False),
                "files": [attrs.asdict(each) for each in self.files],
            }
        )
        if len(content) > MAX_BYTES:
            raise CheckpointError(
                f"cannot write a {MANIFEST_NAME} of {len(content):,} bytes; allowed: "
                f"{MAX_BYTES:,}. Keep numbers and texts of the state in tensors."
            )
        return content

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The inverse of `to_bytes`.

        Raises:
            DamagedCheckpointError: These are not the bytes of a manifest, or not all of them.
            CheckpointError: It is whole, but of another schema version.
        """
        content = _unsealed(data)
        version = content.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                f"{MANIFEST_NAME} has schema version {version!r}; this version of trainers reads "
                f"{SCHEMA_VERSION}. Go on with the version that wrote it."
            )
        try:
            files = tuple(FileRecord.from_json(each) for each in content.pop("files"))
            return cls(files=files, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedCheckpointError(f"{MANIFEST_NAME}: {error.args[0]}") from error


def sealed(content: dict[str, Any]) -> bytes:
    """The bytes of a manifest with this content, its own hash included."""
    text = json.dumps(content, allow_nan=False)
    seal = xxhash.xxh3_128_hexdigest(text.encode())
    return f'{text[:-1]}, "{_SEAL}": "{seal}"}}'.encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    """The content, if sealing it again gives the very same bytes."""
    try:
        content = json.loads(data)
        if isinstance(content, dict):
            content.pop(_SEAL, None)
            if sealed(content) == data:
                return content
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{MANIFEST_NAME} cannot be parsed: {error}") from error
    raise DamagedCheckpointError(f"{MANIFEST_NAME} does not fit its own hash")

"""What a checkpoint says about itself; written after its data."""

from __future__ import annotations

import json
from typing import Any

import attrs
import xxhash
from attrs import field, frozen
from attrs.validators import deep_mapping, ge, instance_of

from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.file_record import FileRecord
from trainers.checkpoints.layout import MANIFEST_NAME
from trainers.errors import CheckpointError

SCHEMA_VERSION = 1
_SEAL = "xxh3_128"


@frozen(kw_only=True)
class Manifest:
    """All of a checkpoint but its tensors.

    On disk: a JSON object whose last entry is the hash of the others. This outer form is the same
    in every schema version, so that a newer file is told from a damaged one.
    """

    iteration: int = field(validator=[instance_of(int), ge(0)])
    identity: str = field(validator=instance_of(str))
    """Of the run: the hash of what determines its result."""
    environment: dict[str, str] = field(validator=deep_mapping(instance_of(str), instance_of(str)))
    files: tuple[FileRecord, ...]
    state: Any
    """The saved state as JSON, with names in place of tensors; see `state_codec`."""

    def to_bytes(self) -> bytes:
        return sealed(
            {
                "schema_version": SCHEMA_VERSION,
                "iteration": self.iteration,
                "identity": self.identity,
                "environment": self.environment,
                "files": [attrs.asdict(each) for each in self.files],
                "state": self.state,
            }
        )

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
    return json.dumps({**content, _SEAL: xxhash.xxh3_128_hexdigest(text.encode())}).encode()


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

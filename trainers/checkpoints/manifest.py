"""The manifest of a checkpoint: all of it but the tensors; written after them."""

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
"""Parsing JSON can take forty times its length in memory."""
FINITE_KEY = "finite"
VERIFIED_KEY = "verified"
_CHECKSUM_KEY = "xxh3_128"


@frozen(kw_only=True)
class Manifest:
    """Everything in a checkpoint but its tensors. The fields are keys of the file.

    On disk: a JSON object whose last entry is the checksum of the others. This outer form is the
    same in every schema version, so that a newer manifest can be told from a damaged one.
    """

    iteration: int = field(validator=[instance_of(int), ge(0)])
    identity: str = field(validator=instance_of(str))
    """Fingerprint of the run: the hash of `what_counts`."""
    what_counts: dict[str, Any] = field(validator=instance_of(dict))
    """Fingerprint fields: what determines the run's result, as plain data."""
    environment: dict[str, str] = field(validator=deep_mapping(instance_of(str), instance_of(str)))
    """Versions and hardware that decide the last bits; see `trainers.training.determinism`. Also
    what `finite` and `verified` read: earlier versions of this package accept no further keys."""
    metrics: dict[str, float] = field(validator=deep_mapping(instance_of(str), instance_of(float)))
    """Finite means over the iterations since the previous checkpoint."""
    files: tuple[FileRecord, ...]
    state: Any
    """Tree structure of the saved state; see `state_decoder`."""

    def __attrs_post_init__(self) -> None:
        names = [each.name for each in self.files]
        if len(set(names)) != len(names):
            raise ValueError(f"a file is named twice: {', '.join(names)}"[:200])

    @property
    def is_finite(self) -> bool:
        """Whether no trained weight and nothing of the optimizer's state is NaN or infinite."""
        return self.environment.get(FINITE_KEY) != "false"

    @property
    def verified_iteration(self) -> int | None:
        """Completed iterations up to which the run was verified; None without `verify_every`."""
        verified = self.environment.get(VERIFIED_KEY, "")
        return int(verified) if verified.isdecimal() else None

    def to_bytes(self) -> bytes:
        """Return the content of the file.

        Raises:
            CheckpointError: It is longer than `MAX_BYTES`, so it could not be read back.
        """
        content = with_checksum(
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
        """Parse the content of the file.

        Raises:
            DamagedCheckpointError: These are not the bytes of a manifest, or not all of them.
            CheckpointError: It is intact, but of another schema version.
        """
        content = _parse_checked(data)
        version = content.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                f"{MANIFEST_NAME} has schema version {version!r}; this version of trainers reads "
                f"{SCHEMA_VERSION}. Resume with the version that wrote it."
            )
        try:
            files = tuple(FileRecord.from_json(each) for each in content.pop("files"))
            return cls(files=files, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedCheckpointError(f"{MANIFEST_NAME}: {error.args[0]}") from error


def with_checksum(content: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest with this content, its own checksum added."""
    text = json.dumps(content, allow_nan=False)
    checksum = xxhash.xxh3_128_hexdigest(text.encode())
    return f'{text[:-1]}, "{_CHECKSUM_KEY}": "{checksum}"}}'.encode()


def _parse_checked(data: bytes) -> dict[str, Any]:
    """Return the content, if writing it again gives the very same bytes, checksum included."""
    try:
        content = json.loads(data)
        if isinstance(content, dict):
            content.pop(_CHECKSUM_KEY, None)
            if with_checksum(content) == data:
                return content
    except RecursionError as error:  # each Python has another text for it
        raise DamagedCheckpointError(f"{MANIFEST_NAME} is nested too deeply") from error
    except ValueError as error:
        raise DamagedCheckpointError(f"{MANIFEST_NAME} cannot be parsed: {error}") from error
    raise DamagedCheckpointError(f"{MANIFEST_NAME} does not match its own checksum")

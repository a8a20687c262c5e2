"""File and folder names in a run's folder of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

MANIFEST_NAME = "manifest.json"

DAMAGED_PREFIX = "damaged-"
"""Prefix of checkpoints that were set aside."""

_PREFIX = "iteration-"


def folder_name(iteration: int) -> str:
    """Return the name of a committed checkpoint, such as `iteration-000001000`."""
    return f"{_PREFIX}{iteration:09d}"


def data_file_name(rank: int) -> str:
    """Return the name of the file with the tensors of one rank."""
    return f"rank-{rank:05d}.safetensors"


def iterations_in(names: Iterable[str]) -> list[int]:
    """List the iterations of committed checkpoints among folder names, oldest first."""
    numbers = {int(name.removeprefix(_PREFIX)): name for name in names if _is_numbered(name)}
    return sorted(number for number, name in numbers.items() if name == folder_name(number))


def _is_numbered(name: str) -> bool:
    digits = name.removeprefix(_PREFIX)
    return digits != name and digits.isascii() and digits.isdigit()

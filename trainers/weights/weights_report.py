"""The report of fine-tuning: which tensors matched. Light: `launch explain` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
from attrs import frozen

_MAX_NAMED = 10


@frozen(kw_only=True)
class WeightsReport:
    """Which tensors of a network were loaded from a checkpoint; all are named with their shapes."""

    path: str
    """Of the checkpoint."""
    iteration: int
    averaged: bool
    """Whether the averaged weights were loaded instead of the last ones."""
    num_matched: int
    num_tensors: int
    """Of the network."""
    missing: tuple[str, ...]
    """Not in the checkpoint, such as `head.bias [3]`: initialized from the seed."""
    mismatched: tuple[str, ...]
    """Of another shape there, such as `head.bias [3], there [1]`: initialized from the seed."""
    unexpected: tuple[str, ...]
    """Only in the checkpoint, and ignored."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self | None:
        """Return the report that an event holds; None if a field is missing."""
        fields = attrs.fields_dict(cls)
        if not fields.keys() <= event.keys():
            return None
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value := event[name], list) else value
            for name in fields
        }
        return cls(**values)

    @property
    def text(self) -> str:
        """One line in total, and one for each kind of mismatch."""
        kind = "averaged weights" if self.averaged else "weights"
        first = f"{self.num_matched} of {self.num_tensors} tensors initialized from the {kind} of"
        exceptions = {
            "newly initialized, not in the checkpoint": self.missing,
            "newly initialized, of another shape there": self.mismatched,
            "ignored, only in the checkpoint": self.unexpected,
        }
        return "\n".join(
            [
                f"{first} {self.path}",
                *(f"{what}: {listed(names)}" for what, names in exceptions.items() if names),
            ]
        )


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")

"""What a run took over from a checkpoint of another one. Light: `launch explain` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
from attrs import frozen

_MAX_NAMED = 10


@frozen(kw_only=True)
class WeightsReport:
    """Which tensors of a network are now those of a checkpoint; each is named with its shape."""

    path: str
    """The checkpoint."""
    iteration: int
    averaged: bool
    """Whether the averages of its weights were taken, not the last ones."""
    num_matched: int
    num_tensors: int
    """Of the network."""
    missing: tuple[str, ...]
    """Not in the checkpoint, such as `head.bias [3]`: as the seed has made them."""
    mismatched: tuple[str, ...]
    """Of another shape there, such as `head.bias [3], there [1]`: as the seed has made them."""
    unexpected: tuple[str, ...]
    """In the checkpoint alone, and left out."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self | None:
        """From the event with these fields; None if it has others."""
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
        """A line for all, and one for each kind of exceptions."""
        kind = "averaged weights" if self.averaged else "weights"
        first = f"{self.num_matched} of {self.num_tensors} tensors began as the {kind} of"
        exceptions = {
            "new, not there": self.missing,
            "new, of another shape there": self.mismatched,
            "left out, only there": self.unexpected,
        }
        return "\n".join(
            [
                f"{first} {self.path}",
                *(f"{what}: {listed(names)}" for what, names in exceptions.items() if names),
            ]
        )


def listed(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")

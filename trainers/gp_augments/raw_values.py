"""Raw values between 0 and 1, as late as possible: until then they are as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def unit_factor(dtype: npt.DTypeLike) -> float:
    """What takes raw of this type to 0..1: integers are unsigned, and their range stands for it."""
    dtype = np.dtype(dtype)
    return 1 / np.iinfo(dtype).max if dtype.kind == "u" else 1.0


def to_unit_range(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Raw as float32; what is of a floating type already stays."""
    if raw.dtype.kind != "u":
        return raw.astype(np.float32, copy=False)
    unit: npt.NDArray[np.float32] = raw.astype(np.float32)
    unit /= np.float32(np.iinfo(raw.dtype).max)
    return unit


def sections_of(raw: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Views `[C, y, x]` of raw `[C, z, y, x]`, along z; an image is a section by itself."""
    if raw.ndim == 3:
        yield raw
    else:
        yield from np.moveaxis(raw, 1, 0)

"""Convert raw values to 0..1.

That happens as late as possible: until then they keep their stored dtype, which for bytes is a
quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def unit_factor(dtype: npt.DTypeLike) -> float:
    """Return the factor from raw of this dtype to 0..1: 1 for floats, 1 / 255 for uint8."""
    dtype = np.dtype(dtype)
    return 1 / np.iinfo(dtype).max if dtype.kind == "u" else 1.0


def to_unit_range(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Convert raw to float32: unsigned values to 0..1; floats keep their values."""
    if raw.dtype.kind != "u":
        return raw.astype(np.float32, copy=False)
    unit: npt.NDArray[np.float32] = raw.astype(np.float32)
    unit /= np.float32(np.iinfo(raw.dtype).max)
    return unit


def sections_of(raw: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield views `[C, y, x]` of raw `[C, z, y, x]`, along z; an image is one section."""
    if raw.ndim == 3:
        yield raw
    else:
        yield from np.moveaxis(raw, 1, 0)

"""Blocks as the microscope took them: section by section."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def sections_of(raw: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Views `[C, y, x]` of raw `[C, z, y, x]`, along z; an image is a section by itself."""
    if raw.ndim == 3:
        yield raw
    else:
        yield from np.moveaxis(raw, 1, 0)

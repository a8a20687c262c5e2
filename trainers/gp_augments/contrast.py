"""The kernel that changes brightness and contrast. It releases the GIL."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


def scale_about(
    raw: npt.NDArray[np.float32], centre: float, scale: float, shift: float, *, clip: bool
) -> npt.NDArray[np.float32]:
    """Deviations from `centre` times `scale`, plus `shift`; with `clip` cut to 0..1. In place."""
    low, high = (0.0, 1.0) if clip else (-np.inf, np.inf)
    raw = np.ascontiguousarray(raw)
    numbers = [np.float32(each) for each in (centre, scale, centre + shift, low, high)]
    _scale(raw.reshape(-1), *numbers)
    return raw


@numba.njit(nogil=True, cache=True)
def _scale(raw, centre, scale, offset, low, high):  # type: ignore[no-untyped-def]
    for i in range(raw.size):
        raw[i] = min(max((raw[i] - centre) * scale + offset, low), high)

"""The kernel that changes brightness and contrast. It releases the GIL, so that threads overlap."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


def scale_about(
    raw: npt.NDArray[np.float32], center: float, scale: float, shift: float, *, clip: bool
) -> npt.NDArray[np.float32]:
    """Scale deviations from `center`, add `shift`, and clip to 0..1 if `clip`; in place."""
    low, high = (0.0, 1.0) if clip else (-np.inf, np.inf)
    raw = np.ascontiguousarray(raw)
    numbers = [np.float32(each) for each in (center, scale, center + shift, low, high)]
    _scale(raw.reshape(-1), *numbers)
    return raw


@numba.njit(nogil=True, cache=True)
def _scale(raw, center, scale, offset, low, high):  # type: ignore[no-untyped-def]
    for i in range(raw.size):
        raw[i] = min(max((raw[i] - center) * scale + offset, low), high)

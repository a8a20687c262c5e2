"""The kernel that changes brightness and contrast. It releases the GIL."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


def scale_about(
    raw: npt.NDArray[np.float32], centre: float, scale: float, shift: float, *, clip: bool
) -> npt.NDArray[np.float32]:
    """Deviations from `centre` times `scale`, plus `shift`; with `clip` cut to 0..1."""
    changed = np.empty(raw.shape, np.float32)
    low, high = (0.0, 1.0) if clip else (-np.inf, np.inf)
    _scale(
        np.ascontiguousarray(raw).reshape(-1),
        *map(np.float32, (centre, scale, centre + shift, low, high)),
        changed.reshape(-1),
    )
    return changed


@numba.njit(nogil=True, cache=True)
def _scale(raw, centre, scale, offset, low, high, changed):  # type: ignore[no-untyped-def]
    for i in range(raw.size):
        changed[i] = min(max((raw[i] - centre) * scale + offset, low), high)

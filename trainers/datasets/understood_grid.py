"""Whether the arrays of a dataset are understood as they were when a run was trained on them.

Files, config and readers, which say where the voxels are, may all change while a run waits.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.errors import DataError, DataUnavailableError


def understood_grids(infos: Mapping[str, ArrayInfo], *, is_absolute: bool) -> dict[str, str]:
    """Return how the arrays of a dataset are understood, in words that can be compared.

    Args:
        infos: With the key "raw".
        is_absolute: Whether samples depend on where raw is, as with points; otherwise they depend
            on where the others are in relation to it.
    """
    raw = infos["raw"]
    origin = (0.0,) * raw.ndim if is_absolute else raw.offset_nm
    return {key: _grid(info, origin) for key, info in infos.items()}


def earlier_infos(config: DatasetConfig, num_axes: int) -> dict[str, ArrayInfo]:
    """Read arrays as runs did that have no record of it; leave out what they could not read.

    Raises:
        DataUnavailableError: One of them cannot be read at present.
    """
    found = {}
    for key, array in config.arrays.items():
        try:
            found[key] = read_array_info(array, as_earlier=True).with_axes(num_axes)
        except DataUnavailableError:
            raise
        except DataError:
            continue
    return found


def is_read_alike(before: ArrayConfig, now: ArrayConfig) -> bool:
    """Return whether an array is understood as one was, by the readers of today or earlier ones."""
    try:
        wanted = _grid(read_array_info(now))
    except DataError:
        return False
    for as_earlier in (False, True):
        try:
            if _grid(read_array_info(before, as_earlier=as_earlier)) == wanted:
                return True
        except DataError:
            continue
    return False


def _grid(info: ArrayInfo, origin_nm: tuple[float, ...] = ()) -> str:
    origin = origin_nm if len(origin_nm) == info.ndim else (0.0,) * info.ndim
    offset = [round(a - b, 6) + 0.0 for a, b in zip(info.offset_nm, origin, strict=True)]
    parts = [
        f"axes {' '.join(info.stored_axes)}",
        f"{' x '.join(map(str, info.shape))} voxels",
        f"of {' x '.join(f'{size:.6g}' for size in info.voxel_size_nm)} nm",
        f"from {', '.join(f'{each:.9g}' for each in offset)} nm",
    ]
    if info.num_channels is not None:
        parts.append(f"{info.num_channels} channels")
    if info.scale_index is not None:
        parts.append(f"scale {info.scale_index}")
    parts += [f"{axis} {index}" for axis, index in info.selected]
    return "; ".join(parts)

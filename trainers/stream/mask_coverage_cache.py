"""Find the output blocks of a dataset that its mask covers enough, and cache them on disk."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from funlib.geometry import Coordinate, Roi

from trainers.datasets.array import Array
from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.dataset import Dataset
from trainers.datasets.outages import wait_out
from trainers.run.atomic_write import atomic_write
from trainers.run.failure_class import may_come_back
from trainers.run.sections import beat
from trainers.stream.mask_coverage import CoveredBlocks, Mask, find_covered_blocks

_PLANES_AT_ONCE = 64
_REPORT_S = 10.0
_VERSION = 1
"""Version of the cached files; a new one makes old files unused."""

_logger = logging.getLogger(__name__)


def covered_blocks(
    dataset: Dataset, block_shape: npt.NDArray[np.int64], min_masked: float
) -> CoveredBlocks:
    """Return the blocks of which the mask covers at least a fraction, exact to the voxel.

    Only voxels inside the ground truth's extent count as covered; a block that is longer than it
    along an axis contains all of it there. Without a mask, all of the ground truth is covered.

    Args:
        block_shape: In voxels, z, y, x or y, x.

    Raises:
        DataError: The mask cannot be read.
        StopRequestedError: A stop was requested while it was waited for.
    """
    gt, mask = dataset.ground_truth, dataset.mask
    whole = _three(gt.info.shape)
    shape = _three(block_shape.tolist())
    window = _three([min(block, length) for block, length in zip(shape, whole, strict=True)])
    min_count = _min_count(min_masked, math.prod(shape))
    if mask is None:
        return CoveredBlocks.of_one(math.prod(window), min_count)  # all blocks are alike
    cached = _CachedBlocks(_cache_key(gt, mask, window, min_count))
    found = cached.read()
    if found is None:
        found = find_covered_blocks(_planes(dataset.name, gt, mask), whole, window, min_count)
        cached.write(found)
    return found


class _CachedBlocks:
    """The file `$XDG_CACHE_HOME/launch-trainers/covered-blocks/KEY.npz`, which users may delete.

    Args:
        key: Hash of all that the blocks depend on; None caches nothing.
    """

    def __init__(self, key: str | None) -> None:
        self._path = None if key is None else _folder() / f"{key}.npz"

    def read(self) -> CoveredBlocks | None:
        """Return the cached blocks; None if there are none, or they cannot be read."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return CoveredBlocks(
                    shape=tuple(file["shape"].tolist()),
                    row_ends=file["row_ends"],
                    runs=file["runs"],
                    max_count=int(file["max_count"]),
                )
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            _logger.warning("%s cannot be used, and is written again: %s", self._path, error)
            return None

    def write(self, blocks: CoveredBlocks) -> None:
        """Cache the blocks; a file system that refuses costs a warning."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                np.savez(
                    file,
                    shape=blocks.shape,
                    row_ends=blocks.row_ends,
                    runs=blocks.runs,
                    max_count=blocks.max_count,
                )
        except OSError as error:
            _logger.warning(
                "cannot cache what the mask covers, so it is computed each time: %s", error
            )


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "launch-trainers" / "covered-blocks"


def _cache_key(gt: Array, mask: Array, window: tuple[int, int, int], min_count: int) -> str | None:
    content = wait_out(
        lambda _: _files_hash(mask.info),
        volume=mask.info.path,
        part="the names of its files",
        reading=mask.reading,
        grace_s=lambda error: None if may_come_back(error) else 0.0,
    )
    if content is None:
        return None
    offset = tuple((mask.roi.begin - gt.roi.begin) / gt.voxel_size)
    what = (_VERSION, content, tuple(gt.info.shape), offset, window, min_count)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _files_hash(info: ArrayInfo) -> str | None:
    """Return a hash of the names, sizes and times of all files, which changes with each write.

    None for arrays on a server, whose files cannot be listed cheaply, or at all.

    Raises:
        OSError: They cannot be listed now.
    """
    if not isinstance(info.path, Path):
        return None
    digest = hashlib.sha256(repr(info).encode())
    is_empty = True
    for folder, subfolders, names in os.walk(info.path, onerror=_raise):
        is_empty = is_empty and not names
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            status = path.stat()
            digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    if is_empty:  # no array is: its file system is not mounted
        raise FileNotFoundError(f"{info.path} holds no file")
    return digest.hexdigest()


def _raise(error: OSError) -> None:
    raise error


def _three(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return a shape in z, y, x; an image has one plane."""
    z, y, x = (1,) * (3 - len(shape)) + tuple(map(int, shape))
    return z, y, x


def _min_count(min_masked: float, num_voxels: int) -> int:
    """Return the smallest count whose fraction is not below `min_masked`, compared as floats."""
    count = max(math.floor(min_masked * num_voxels) - 1, 0)
    while count / num_voxels < min_masked:
        count += 1
    return count


def _planes(name: str, gt: Array, mask: Array) -> Iterator[Mask]:
    """Yield the mask in the ground truth's extent, plane by plane: `[y, x]`, 1 where it covers.

    Voxels outside the mask's own extent are 0.
    """
    voxel_size = gt.voxel_size
    whole = gt.roi / voxel_size
    inside = mask.roi.intersect(gt.roi) / voxel_size
    num_planes = whole.shape[0] if whole.dims == 3 else 1
    started = reported = time.monotonic()
    for first in range(0, num_planes, _PLANES_AT_ONCE):
        slab = whole
        if whole.dims == 3:
            depth = min(_PLANES_AT_ONCE, num_planes - first)
            slab = Roi(whole.begin + Coordinate(first, 0, 0), Coordinate(depth, *whole.shape[1:]))
        covered = np.zeros(slab.shape, np.uint8)
        part = slab.intersect(inside)
        if not part.empty:
            covered[(part - slab.begin).to_slices()] = mask[part * voxel_size] != 0
        yield from covered.reshape(-1, *covered.shape[-2:])
        beat()  # a large mask takes long
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            _logger.info(
                "dataset %r: read %.0f %% of the mask in %.0f s; later runs find the result cached",
                name,
                100 * (first + len(covered)) / num_planes,
                reported - started,
            )

"""Read the voxels of a stored array with TensorStore; missing data is an error, never zeros."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.change_detection import ReplacementWatch
from trainers.datasets.outages import is_of_this_moment, wait_out
from trainers.datasets.read_options import Reading
from trainers.datasets.remedies import ABSENT, REFUSED, remedy
from trainers.datasets.remote_path import kvstore
from trainers.errors import DataError, StopRequestedError
from trainers.run.sections import beat

ABSENT_S = 10.0
"""How long a chunk may be missing or refused while the rest of its volume can be read. A client of
NFS may see a file that late."""
UNDECODABLE_S = 1.0
"""How long a chunk may be malformed: another process may be about to have written it."""
_SENTINEL_S = 5.0
"""A volume that takes longer to give the voxel that it gave before is away."""
_POLL_S = 0.2
"""How often a read that waits asks for a stop."""

T = TypeVar("T")
Index = tuple[slice, ...]
Voxels = npt.NDArray[Any]


class StoredVoxels:
    """An open array with the requested axes, whose indices begin at 0.

    The voxel in its middle is read on opening: TensorStore reads no chunk on `open`, and an array
    that cannot be decoded should fail before training starts.

    Args:
        axes: Names, in the order of the result; of all other axes one index is read.

    Raises:
        DataUnavailableError: The volume stayed away for `reading.timeout_s`.
        DataError: It cannot be opened, or its middle cannot be read.
        StopRequestedError: `reading.should_stop` said so meanwhile.
    """

    def __init__(self, info: ArrayInfo, axes: Sequence[str], reading: Reading) -> None:
        self._info = info
        self._axes = axes
        self._reading = reading
        self._watch = ReplacementWatch(info, reading)
        self._sentinel: Index | None = None
        self._store: ts.TensorStore = self._wait_out(
            lambda seconds: self._result(self._open(reading.context), seconds), "its metadata"
        )
        self._arranged = self._arrange(self._store)
        middle = tuple(slice(length // 2, length // 2 + 1) for length in self._info.shape)
        self.begin_read(middle)()
        self._sentinel = middle
        if info.absent_chunks == "fill":
            self._refuse_if_empty()

    def begin_read(self, index: Index) -> Callable[[], Voxels]:
        """Start to read a region; return a function that waits for the voxels.

        Raises:
            DataError: The volume was replaced; or, while waiting, a chunk cannot be read.
        """
        self._watch.check()
        region = self._arranged[(Ellipsis, *index)]  # type: ignore[index]
        reading = region.read()
        shared = [reading]

        def read(seconds: float) -> Voxels:
            if shared:
                try:
                    return self._finish(region, shared.pop(), seconds)
                except ValueError:
                    # At once again, without the shared cache: it remembers that a chunk was absent
                    # for as long as it lasts.
                    pass
            voxels = self._read(self._uncached(seconds), index, seconds)
            self._watch.check()  # what has come back may be another volume
            return voxels

        def finish() -> Voxels:
            try:  # nothing is the matter with most reads, and a sample takes several
                voxels: Voxels = reading.result(timeout=_POLL_S)
            except (ValueError, TimeoutError):
                return self._wait_out(read, _voxels(index))
            return voxels

        return finish

    def _read(self, store: ts.TensorStore, index: Index, seconds: float) -> Voxels:
        region = store[(Ellipsis, *index)]  # type: ignore[index]
        return self._finish(region, region.read(), seconds)

    def _finish(self, region: ts.TensorStore, reading: ts.Future[Voxels], seconds: float) -> Voxels:
        """Wait for a read that was started, for a number of seconds, or raise TimeoutError."""
        try:
            return self._result(reading, seconds)
        except ValueError as error:
            if self._info.absent_chunks == "fill" and str(error).startswith(ABSENT):
                return self._fill(region, seconds)
            raise

    def _fill(self, region: ts.TensorStore, seconds: float) -> Voxels:
        """Read a region chunk by chunk; those that were never written have the fill value.

        A chunk is missing too while its volume is away. So it counts as absent only if a second
        look does not find it either, and the volume is there both before and after that look.
        """
        fill_value = 0 if region.fill_value is None else region.fill_value
        voxels = np.full(region.shape, fill_value, region.dtype.numpy_dtype)
        origin = region.domain.inclusive_min
        missing: list[Index] = []
        failure: ValueError | None = None
        for part, reading in [(part, region[part].read()) for part in _parts_by_chunk(region)]:
            within = tuple(
                slice(each.start - zero, each.stop - zero)
                for each, zero in zip(part, origin, strict=True)
            )
            try:
                voxels[within] = self._result(reading, seconds)
            except ValueError as error:
                if not str(error).startswith(ABSENT):
                    raise
                failure = error
                missing.append(part)
        if failure is not None and not self._are_absent(missing, seconds):
            raise failure
        return voxels

    def _are_absent(self, chunks: Sequence[Index], seconds: float) -> bool:
        if not self._watch.is_readable():
            return False
        store = self._uncached(seconds)
        for reading in [store[chunk].read() for chunk in chunks]:
            try:
                self._result(reading, seconds)
            except ValueError as error:
                if not str(error).startswith(ABSENT):
                    raise
            else:
                return False
        return self._watch.is_readable()

    def _open(
        self, context: ts.Context, *, recheck_chunks: bool = False
    ) -> ts.Future[ts.TensorStore]:
        info = self._info
        # Volumes do not change during training (`ReplacementWatch` checks that), so cached chunks
        # are not revalidated: that would cost a request or a `stat` per chunk and read.
        spec: dict[str, Any] = {
            "driver": info.driver,
            "kvstore": kvstore(info.path),
            "recheck_cached_metadata": "open",
            "recheck_cached_data": recheck_chunks,
            # Or chunks without a file would read as zeros; a volume that was copied in part, or a
            # mount that is gone, looks the same.
            "fill_missing_data_reads": False,
        }
        if info.scale_index is not None:
            spec["scale_index"] = info.scale_index
        if info.metadata is None:
            return ts.open(spec, open=True, read=True, context=context)
        spec["metadata"] = json.loads(info.metadata)
        return ts.open(spec, open=True, assume_metadata=True, read=True, context=context)

    def _uncached(self, seconds: float) -> ts.TensorStore:
        """Open the array once more, so that every read of it looks at the storage."""
        opening = self._open(Reading().context, recheck_chunks=True)
        return self._arrange(self._result(opening, seconds))

    def _arrange(self, store: ts.TensorStore) -> ts.TensorStore:
        kept = [axis for axis in self._info.stored_axes if axis in self._axes]
        selected = dict(self._info.selected)
        others = tuple(
            slice(None) if axis in kept else selected.get(axis, 0)
            for axis in self._info.stored_axes
        )
        return store[ts.d[:].translate_to[0]][others].transpose(
            [kept.index(axis) for axis in self._axes]
        )

    def _refuse_if_empty(self) -> None:
        if self._info.driver == "neuroglancer_precomputed":
            return  # TensorStore 0.1.86 asks for a wrong key, and fails

        def statistics(seconds: float) -> Any:
            try:
                asked = self._store.storage_statistics(query_not_stored=True)
                return self._result(asked, seconds)
            except NotImplementedError:  # a web server, which has no listings
                return None

        found = self._wait_out(statistics, "which chunks exist")
        if found is not None and found.not_stored:
            raise DataError(
                f"{self._info.path}: none of its chunks exists; check the path, and that the "
                "volume is complete"
            )

    def _wait_out(self, attempt: Callable[[float], T], part: str) -> T:
        return wait_out(
            attempt,
            volume=self._info.path,
            part=part,
            reading=self._reading,
            grace_s=self._grace_s,
            advice=partial(remedy, self._info),
        )

    def _grace_s(self, error: Exception) -> float | None:
        """See `wait_out`."""
        if not isinstance(error, ValueError | TimeoutError):
            return 0.0
        if is_of_this_moment(error) or not self._is_there():
            self._watch.make_due()
            return None
        self._watch.check()
        return ABSENT_S if str(error).startswith(REFUSED) else UNDECODABLE_S

    def _is_there(self) -> bool:
        """Return whether the volume gives right now what it gave before."""
        if not self._watch.is_readable():
            return False
        if self._sentinel is None:
            return True
        try:
            self._read(self._uncached(_SENTINEL_S), self._sentinel, _SENTINEL_S)
        except TimeoutError:
            return False
        except ValueError as error:
            return not (is_of_this_moment(error) or str(error).startswith(REFUSED))
        return True

    def _result(self, future: ts.Future[T], seconds: float) -> T:
        deadline = time.monotonic() + seconds
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            try:
                return future.result(timeout=min(left, _POLL_S))
            except TimeoutError:
                beat()  # a read that waits is given up by its own timeout, and is no hang
                if self._reading.should_stop():
                    raise StopRequestedError(f"stopped while reading {self._info.path}") from None
                if left <= _POLL_S:
                    raise


def _parts_by_chunk(region: ts.TensorStore) -> Iterator[Index]:
    """Yield a region in parts of one chunk each."""
    layout: Any = region.chunk_layout  # without the Nones that it has in arrays without chunks
    axes = []
    for begin, end, length, origin in zip(
        region.domain.inclusive_min,
        region.domain.exclusive_max,
        layout.read_chunk.shape,
        layout.grid_origin,
        strict=True,
    ):
        first = begin - (begin - origin) % length
        starts = range(first, end, length)
        axes.append([slice(max(start, begin), min(start + length, end)) for start in starts])
    yield from product(*axes)


def _voxels(index: Index) -> str:
    begin, end = zip(*((each.start, each.stop) for each in index), strict=True)
    return f"voxels {begin} to {end}"

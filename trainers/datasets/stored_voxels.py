"""Read the voxels of a stored array with TensorStore; missing data is an error, never zeros."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import tensorstore as ts

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.change_detection import ReplacementWatch
from trainers.datasets.read_options import Reading
from trainers.datasets.remote_path import kvstore
from trainers.errors import DataError

_BACKOFF_S = (0.0, 0.5, 2.0)
"""Delay before each attempt of a read. TensorStore itself retries requests to servers only (see
`read_options`), and not what a file system refuses for a moment."""
_FINAL = ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED")
"""Statuses that are not retried: the storage has answered."""

Attempt = Callable[[float], Any]
"""Returns a result within a timeout in seconds, or raises TimeoutError."""


class StoredVoxels:
    """An open array with the requested axes, whose indices begin at 0.

    The voxel in its middle is read on opening: TensorStore reads no chunk on `open`, and an array
    that cannot be decoded should fail before training starts.

    Args:
        axes: Names, in the order of the result; all other axes must have length 1.

    Raises:
        DataError: It cannot be opened, or its middle cannot be read.
    """

    def __init__(self, info: ArrayInfo, axes: Sequence[str], reading: Reading) -> None:
        self._info = info
        self._axes = axes
        self._reading = reading
        self._store: ts.TensorStore = self._first_result(
            [lambda seconds: self._open(reading.context).result(timeout=seconds)] * 2,
            "its metadata",
        )
        self._arranged = self._arrange(self._store)
        self._watch = ReplacementWatch(info, reading)
        self.begin_read(tuple(slice(length // 2, length // 2 + 1) for length in self._shape))()
        if info.absent_chunks == "fill":
            self._refuse_if_empty()

    def begin_read(self, index: tuple[slice, ...]) -> Callable[[], npt.NDArray[Any]]:
        """Start to read a region; return a function that waits for the voxels.

        Raises:
            DataError: The volume was replaced; or, while waiting, a chunk cannot be read.
        """
        self._watch.check()
        reading = self._arranged[(Ellipsis, *index)].read()  # type: ignore[index]

        def read_again(seconds: float) -> Any:
            # With an empty cache of its own: the shared one may remember the failed read.
            store = self._open(Reading().context).result(timeout=seconds)
            part = self._arrange(store)[(Ellipsis, *index)]  # type: ignore[index]
            return part.read().result(timeout=seconds)

        attempts = [lambda seconds: reading.result(timeout=seconds), read_again, read_again]
        return lambda: self._first_result(attempts, _voxels(index))

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._info.shape

    def _open(self, context: ts.Context) -> ts.Future[ts.TensorStore]:
        info = self._info
        # Volumes do not change during training (`ReplacementWatch` checks that), so cached chunks
        # are not revalidated: that would cost a request or a `stat` per chunk and read.
        # Chunks without a file would read as zeros by default; a volume that was copied in part, or
        # a mount that is gone, looks the same.
        spec: dict[str, Any] = {
            "driver": info.driver,
            "kvstore": kvstore(info.path),
            "recheck_cached_metadata": False,
            "recheck_cached_data": False,
            "fill_missing_data_reads": info.absent_chunks == "fill",
        }
        if info.scale_index is not None:
            spec["scale_index"] = info.scale_index
        return ts.open(spec, open=True, read=True, context=context)

    def _arrange(self, store: ts.TensorStore) -> ts.TensorStore:
        kept = [axis for axis in self._info.stored_axes if axis in self._axes]
        others = tuple(slice(None) if axis in kept else 0 for axis in self._info.stored_axes)
        return store[ts.d[:].translate_to[0]][others].transpose(
            [kept.index(axis) for axis in self._axes]
        )

    def _refuse_if_empty(self) -> None:
        found = self._first_result(
            [
                lambda seconds: self._store.storage_statistics(query_not_stored=True).result(
                    timeout=seconds
                )
            ],
            "which chunks exist",
        )
        if found.not_stored:
            raise DataError(
                f"{self._info.path}: none of its chunks exists; check the path, and that the "
                "volume is complete"
            )

    def _first_result(self, attempts: Sequence[Attempt], part: str) -> Any:
        deadline = time.monotonic() + self._reading.timeout_s
        for delay, attempt in zip(_BACKOFF_S, attempts, strict=False):
            if delay:
                time.sleep(min(delay, max(deadline - time.monotonic(), 0.0)))
            try:
                return attempt(max(deadline - time.monotonic(), 0.0))
            except TimeoutError:
                raise DataError(
                    f"{self._info.path}: no answer within {self._reading.timeout_s:g} s when "
                    f"reading {part}; look at the file system or server, or raise "
                    "`reading.timeout_s`"
                ) from None
            except (ValueError, IndexError, NotImplementedError) as error:
                failure = error
                if str(error).startswith(_FINAL):
                    break
        raise DataError(
            f"{self._info.path}: cannot read {part}: {failure}{_advice(failure)}"
        ) from failure


def _voxels(index: tuple[slice, ...]) -> str:
    begin, end = zip(*((each.start, each.stop) for each in index), strict=True)
    return f"voxels {begin} to {end}"


def _advice(error: Exception) -> str:
    if "NOT_FOUND: chunk" in str(error):
        return (
            ". If chunks of this volume were never written because they are empty, set "
            "`absent_chunks: fill`; otherwise it is lost, and has to be restored"
        )
    return ""

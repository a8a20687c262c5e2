"""Open a dataset where a run starts: what is away is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from trainers.datasets.outages import wait_out
from trainers.errors import DataUnavailableError, StopRequestedError
from trainers.run.sections import beat

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset
    from trainers.datasets.dataset_config import DatasetConfig
    from trainers.datasets.read_options import Reading

T = TypeVar("T")

_POLL_S = 0.2


def open_dataset(config: DatasetConfig, reading: Reading, num_axes: int = 3) -> Dataset:
    """Read the metadata of a dataset; wait for volumes that are not there, or not readable.

    They were there when the run was submitted.

    Args:
        num_axes: Of the network; see `Dataset`.

    Raises:
        DataUnavailableError: One of them stayed away for `reading.timeout_s`.
        DataError: The dataset cannot be used.
        StopRequestedError: `reading.should_stop` said so meanwhile.
    """
    return wait_out(
        lambda seconds: _in_time(lambda: config.build(num_axes), seconds, reading.should_stop),
        volume=f"dataset {config.name!r}",
        part="its metadata",
        reading=reading,
        grace_s=lambda error: None if isinstance(error, DataUnavailableError) else 0.0,
    )


def _in_time(call: Callable[[], T], seconds: float, should_stop: Callable[[], bool]) -> T:
    """Return what `call` returns; leave it behind when it takes too long, or a stop is requested.

    It may hang: a server does not answer, or a file system is gone that was mounted `hard`.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, name="metadata", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive():
        thread.join(_POLL_S)
        beat()  # this has a bound of its own
        if should_stop():
            raise StopRequestedError("stopped while reading metadata")
        if thread.is_alive() and time.monotonic() >= deadline:
            raise DataUnavailableError("no answer")
    return future.result()

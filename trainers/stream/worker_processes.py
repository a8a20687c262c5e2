"""Processes that make samples of one stream."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from types import FunctionType
from typing import Any

from trainers.errors import ConfigError
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_process import WorkerProcess
from trainers.stream.worker_reserve import WorkerReserve


@contextmanager
def worker_processes(
    spec: StreamSpec, num_workers: int, reserve: WorkerReserve
) -> Iterator[list[WorkerProcess]]:
    """As many as are asked for, each told of the spec; none is left afterwards.

    Raises:
        ConfigError: They could not import a part of the spec.
    """
    pickled_spec = _pickle(spec)
    with ExitStack() as stack:
        workers = []
        for _ in range(num_workers):
            worker = reserve.take()
            stack.callback(worker.close)
            worker.prepare(pickled_spec)
            workers.append(worker)
        yield workers


class _SpecPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            raise ConfigError(
                f"{obj.__name__!r} is defined in the program's main module, which data workers do "
                "not import; move it to a module of its own, or set num_data_fetchers to 0"
            )
        return NotImplemented


def _pickle(spec: StreamSpec) -> bytes:
    buffer = BytesIO()
    try:
        _SpecPickler(buffer).dump(spec)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the data stream cannot be sent to data workers: {error}; use classes and functions "
            "that can be imported, or set num_data_fetchers to 0"
        ) from error
    return buffer.getvalue()

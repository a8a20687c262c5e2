"""Worker processes that are started early, before the stream that they will work for is known."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self

from trainers.errors import ConfigError
from trainers.stream.worker_process import WorkerProcess

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig
    from trainers.stream.stream_spec import StreamSpec  # imports numpy and TensorStore


class WorkerPool:
    """Worker processes that import what they need while the trainer does the same.

    Use it in a `with` block; on leaving, the workers that no stream has taken are killed.

    Args:
        num_workers: Workers to start on entering.
        augments: The augments that the stream will probably have.
    """

    def __init__(self, num_workers: int = 0, augments: Sequence[AugmentConfig] = ()) -> None:
        self._num_workers = num_workers
        self._augments = tuple(augments)
        self._waiting: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        try:
            for _ in range(self._num_workers):
                self._waiting.append(WorkerProcess(self._augments))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def take(self) -> WorkerProcess:
        """Return a waiting worker, or a new one; the caller closes it."""
        return self._waiting.pop() if self._waiting else WorkerProcess(self._augments)

    def _close(self) -> None:
        while self._waiting:
            self._waiting.pop().close()


@contextmanager
def worker_processes(
    spec: StreamSpec, num_workers: int, pool: WorkerPool
) -> Iterator[list[WorkerProcess]]:
    """Take workers from a pool and send them the spec; kill them at the end.

    Raises:
        ConfigError: A part of the spec cannot be pickled, or not be imported by workers.
    """
    pickled_spec = _pickle(spec)
    with ExitStack() as stack:
        workers = []
        for _ in range(num_workers):
            worker = pool.take()
            stack.callback(worker.close)
            worker.prepare(pickled_spec)
            workers.append(worker)
        yield workers


class _SpecPickler(pickle.Pickler):
    """A pickler that refuses what is defined in `__main__`, another module in the worker."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            raise ConfigError(
                f"{obj.__name__!r} is defined in the program's main module, which worker processes "
                "do not import; move it to a module of its own, or set num_data_fetchers to 0"
            )
        return NotImplemented


def _pickle(spec: StreamSpec) -> bytes:
    buffer = BytesIO()
    try:
        _SpecPickler(buffer).dump(spec)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the data stream cannot be sent to worker processes: {error}; use classes and "
            "functions that can be imported, or set num_data_fetchers to 0"
        ) from error
    return buffer.getvalue()

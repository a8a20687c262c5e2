"""Data workers: started early, before it is known what they are to make, then told of a stream."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from trainers.errors import ConfigError
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_process import WorkerProcess

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig


class WorkerPool:
    """Workers that import what they need while the trainer does the same.

    Use it in a `with` block; at its end those that nobody has taken are gone.

    Args:
        num_workers: To be started on entering.
        augments: Which are likely to be part of what they will make.
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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def take(self) -> WorkerProcess:
        """One of those that wait, or a new one; it is the caller's to close."""
        return self._waiting.pop() if self._waiting else WorkerProcess(self._augments)

    def _close(self) -> None:
        while self._waiting:
            self._waiting.pop().close()


@contextmanager
def worker_processes(
    spec: StreamSpec, num_workers: int, reserve: WorkerPool
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

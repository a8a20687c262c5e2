"""Data workers that are started before it is known what they are to make."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trainers.stream.worker_process import WorkerProcess

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig


class WorkerReserve:
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

"""Make samples ahead of time, in several processes."""

from __future__ import annotations

import itertools
import pickle
import threading
from contextlib import ExitStack
from io import BytesIO
from multiprocessing.connection import wait
from types import FunctionType, TracebackType
from typing import Any, Self

from trainers.errors import ConfigError
from trainers.stream.sample import Sample
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_process import Job, WorkerProcess
from trainers.stream.worker_reserve import WorkerReserve

_JOBS_PER_WORKER = 2
"""One that it works on, and one that it finds when it is done."""


class WorkerPool:
    """Delivers samples in order, whichever worker makes them and however long each takes.

    Workers run from entering the `with` block until leaving it. Ahead of what was asked for they
    make the samples of a batch, and two each.

    Args:
        indices: Of the samples of each batch that are to be made.
        reserve: Where the workers come from.

    Raises:
        ConfigError: The workers could not import a part of the spec.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        num_workers: int,
        start_iteration: int,
        indices: range,
        reserve: WorkerReserve,
    ) -> None:
        self._pickled_spec = _pickle(spec)
        self._num_workers = num_workers
        self._reserve = reserve
        self._max_ahead = len(indices) + _JOBS_PER_WORKER * num_workers
        self._jobs = (
            (iteration, index)
            for iteration in itertools.count(start_iteration)
            for index in indices
        )
        self._num_ahead = 0
        self._answers: dict[Job, Sample | Exception] = {}
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        """Guards all of this state; notified of answers and failures."""
        self._resources = ExitStack()
        self._workers: list[WorkerProcess] = []
        self._receiver = threading.Thread(target=self._receive_all, daemon=True)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for _ in range(self._num_workers):
                worker = self._reserve.take()
                stack.callback(worker.close)
                worker.prepare(self._pickled_spec)
                self._workers.append(worker)
            self._assign()
            self._receiver.start()
            stack.callback(self._receiver.join)
            stack.callback(self._kill_workers)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def sample(self, iteration: int, index: int) -> Sample:
        """The next sample; ask for all of them, in order.

        Raises:
            TrainerError: As `SampleMaker.sample`, with the traceback of the worker.
            StreamError: A worker cannot start, or has died.
        """
        job = (iteration, index)
        with self._changed:
            self._changed.wait_for(lambda: job in self._answers or self._failure)
            if job not in self._answers:
                assert self._failure is not None
                raise self._failure
            answer = self._answers.pop(job)
            self._num_ahead -= 1
            self._assign()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _assign(self) -> None:
        while self._num_ahead < self._max_ahead:
            worker = min(self._workers, key=lambda each: len(each.jobs))
            if len(worker.jobs) == _JOBS_PER_WORKER:
                return
            worker.assign(next(self._jobs))
            self._num_ahead += 1

    def _receive_all(self) -> None:
        workers = {worker.connection: worker for worker in self._workers}
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]  # type: ignore[index]
                try:
                    job, answer = worker.connection.recv()
                except Exception as error:
                    ended = isinstance(error, EOFError | OSError)
                    job, answer = None, worker.obituary() if ended else error
                    del workers[worker.connection]
                with self._changed:
                    if job is None:
                        self._failure = self._failure or answer
                    else:
                        self._answers[job] = answer
                        worker.jobs.remove(job)
                        self._assign()
                    self._changed.notify_all()

    def _kill_workers(self) -> None:
        for worker in self._workers:
            worker.kill()


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

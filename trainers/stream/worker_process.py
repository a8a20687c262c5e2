"""The trainer's end of a process that makes samples."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import StreamError
from trainers.stop_flag import SIGNALS
from trainers.stream.shared_block import SharedBlock

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig
    from trainers.stream.sample import Sample

_ENVIRONMENT = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    ),
    "MALLOC_ARENA_MAX": "1",  # with a heap per reading thread, resident memory creeps up
}


class WorkerProcess:
    """A running `trainers.stream.worker_main`.

    It is no `multiprocessing.Process`: that would run the user's main module again, and fork or
    leave a resource tracker behind. It imports what it needs from the beginning, and waits to be
    told what to make samples of.

    Args:
        augments: What they need is imported in advance.
    """

    def __init__(self, augments: tuple[AugmentConfig, ...] = ()) -> None:
        self._block = SharedBlock.new()
        ours, theirs = socket.socketpair()
        with theirs, _signals_blocked():
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "trainers.stream.worker_main"),
                    *(str(theirs.fileno()), str(self._block.descriptor), str(os.getpid())),
                ],
                pass_fds=[theirs.fileno(), self._block.descriptor],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": _python_path()},
            )
        self._connection = Connection(ours.detach())
        self._has_started = False
        self._send(pickle.dumps(augments))

    def prepare(self, pickled_spec: bytes) -> None:
        """Tell it, once and before any sample, of which StreamSpec it is to make samples."""
        self._send(pickled_spec)

    def sample(self, iteration: int, index: int) -> Sample:
        """As `SampleWorker.sample`, with errors that hold the traceback of the process.

        Raises:
            StreamError: Besides, the process cannot start, or has died.
        """
        self._send(pickle.dumps((iteration, index)))
        try:
            if not self._has_started:
                self._receive()
                self._has_started = True
            sample: Sample = self._receive()
        except (EOFError, OSError):
            raise self._obituary(iteration, index) from None
        return sample

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End the process; none is left when this returns."""
        self.kill()
        self._process.wait()
        self._connection.close()
        self._block.close()

    def _send(self, pickled: bytes) -> None:
        with suppress(ConnectionError):  # a dead worker is noticed when its answers are read
            self._connection.send_bytes(pickled)

    def _receive(self) -> Any:
        pickled, places = self._connection.recv()
        answer = pickle.loads(pickled, buffers=self._block.take(places))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _obituary(self, iteration: int, index: int) -> StreamError:
        """What to tell the user once the process has ended by itself."""
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return StreamError(
            f"data worker {self._process.pid} ended with {how}, and did not deliver sample "
            f"{index} of iteration {iteration}; its own messages are in the log. If the machine "
            "was short of memory, use fewer num_data_fetchers or ask for more memory"
        )


def _python_path() -> str:
    """What makes a child find the modules that this process finds."""
    return os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start children with these signals blocked, until they have said that they ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

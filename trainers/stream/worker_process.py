"""The trainer's handle of a worker process."""

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
from trainers.run.sections import beat
from trainers.run.watchdog import watched_children
from trainers.stop_flag import SIGNALS
from trainers.stream.shared_block import SharedBlock

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig
    from trainers.stream.sample import Sample

# One thread per library: the workers are the parallelism, and each gets a core. These variables are
# read when a library is loaded, so they must be set before the process starts.
_ENVIRONMENT = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    ),
    "MALLOC_ARENA_MAX": "1",  # see `limit_malloc_arenas`
}


class WorkerProcess:
    """A running `trainers.stream.worker_main`.

    Not a `multiprocessing.Process`: that would run the user's main module again (spawn), leave a
    resource tracker behind, or fork, which TensorStore does not survive. The process starts to
    import at once, and waits for the spec.

    Args:
        augments: Their imports are made in advance.
    """

    def __init__(self, augments: tuple[AugmentConfig, ...] = ()) -> None:
        self._block = SharedBlock.new()
        ours, theirs = socket.socketpair()
        with theirs, _signals_blocked():
            # -P: a module beside the working directory must not shadow an installed one
            command = [sys.executable, "-P", "-m", "trainers.stream.worker_main"]
            numbers = (theirs.fileno(), self._block.descriptor, os.getpid())
            self._process = subprocess.Popen(
                [*command, *map(str, numbers)],
                pass_fds=[theirs.fileno(), self._block.descriptor],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": _python_path()},
            )
        watched_children.add(self._process.pid)
        self._connection = Connection(ours.detach())
        self._has_started = False
        self._send(pickle.dumps(augments))

    def prepare(self, pickled_spec: bytes) -> None:
        """Send the StreamSpec, once, before any sample is requested."""
        self._send(pickled_spec)

    def sample(self, iteration: int, index: int) -> Sample:
        """Return a sample; see `SampleWorker.sample`. Errors hold the worker's traceback.

        Raises:
            StreamError: The process cannot start, or has died, or failed otherwise.
        """
        self._send(pickle.dumps((iteration, index)))
        try:
            if not self._has_started:
                self._receive()
                self._has_started = True
            sample: Sample = self._receive()
        except (EOFError, OSError):
            raise self._death(iteration, index) from None
        return sample

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kill the process and reap it."""
        self.kill()
        watched_children.discard(self._process.pid)
        self._process.wait()
        self._connection.close()
        self._block.close()

    def _send(self, pickled: bytes) -> None:
        with suppress(ConnectionError):  # `_receive` reports a dead worker
            self._connection.send_bytes(pickled)

    def _receive(self) -> Any:
        while (received := self._connection.recv()) is None:
            beat()
        pickled, spans = received
        answer = pickle.loads(pickled, buffers=self._block.take(spans))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _death(self, iteration: int, index: int) -> StreamError:
        """Describe how the process ended, which nobody asked it to."""
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return StreamError(
            f"worker process {self._process.pid} ended with {how}, and did not deliver sample "
            f"{index} of iteration {iteration}; its own messages are in the log. If the machine "
            "was short of memory, use fewer num_data_fetchers or ask for more memory"
        )


def _python_path() -> str:
    """Return a PYTHONPATH with which a child finds the modules that this process finds."""
    return os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let children start with these signals blocked, until they ignore them.

    Otherwise a signal to the whole job would kill a worker that is still importing.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""A worker process: `python -m trainers.stream.worker_main SOCKET MEMORY PARENT_PID`.

Over SOCKET, a descriptor, it receives, pickled: the AugmentConfigs that will probably be needed;
the StreamSpec, once it is known; then jobs, (iteration, index). It answers the spec and each job
with (pickle of the answer, spans of its buffers), and with None for each sign of progress before
that. The answer is None for the spec, a Sample for a job, or an exception; the buffers lie in
MEMORY, the descriptor of a `SharedBlock`.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from trainers.errors import StreamError, TrainerError
from trainers.imports import pause_gc_during_import
from trainers.run.sections import SECTIONS
from trainers.run.watchdog import DUMP_SIGNAL
from trainers.stop_flag import SIGNALS
from trainers.stream.shared_block import SharedBlock

if TYPE_CHECKING:
    from trainers.gp_augments.augment_config import AugmentConfig

_sending = threading.Lock()
"""Volumes are opened on several threads, each of which reports its progress."""


def main() -> None:
    descriptor, memory, parent = map(int, sys.argv[1:])
    # A stop signal reaches all processes of a job; the trainer alone decides when workers end.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    faulthandler.register(DUMP_SIGNAL)
    os.set_inheritable(descriptor, False)
    os.set_inheritable(memory, False)
    threading.Thread(target=_end_with_parent, args=(descriptor, parent), daemon=True).start()
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):
        SECTIONS.on_beat = partial(_report_progress, connection)
        _serve(connection, SharedBlock(memory))


def _end_with_parent(descriptor: int, parent: int) -> None:
    """Exit at once, whatever the other threads are doing, when the parent is gone.

    Not by PR_SET_PDEATHSIG: the kernel sends that when the *thread* that forked ends.
    """
    hang_up = select.poll()
    hang_up.register(descriptor, 0)
    while not hang_up.poll(1000) and os.getppid() == parent:
        pass
    os._exit(1)


def _report_progress(connection: Connection) -> None:
    with _sending:
        connection.send(None)


def _serve(connection: Connection, block: SharedBlock) -> None:
    try:
        with pause_gc_during_import():
            with _without_torch():
                import gunpowder  # noqa: F401
            from trainers.stream.sample_worker import SampleWorker

            _import_nodes(connection.recv())
        worker = SampleWorker(connection.recv())
        worker.__enter__()
    except Exception as error:
        _answer(connection, block, _portable(error))
        return
    with worker:
        _answer(connection, block, None)
        while True:
            job = connection.recv()
            try:
                _answer(connection, block, worker.sample(*job))
            except (TrainerError, MemoryError) as error:
                _answer(connection, block, _portable(error))


def _answer(connection: Connection, block: SharedBlock, answer: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    # Protocol 5 (PEP 574) leaves arrays out of the pickle; they go through the shared block.
    pickled = pickle.dumps(answer, protocol=5, buffer_callback=buffers.append)
    with _sending:
        connection.send((pickled, block.put(buffers)))


def _import_nodes(augments: tuple[AugmentConfig, ...]) -> None:
    """Build the augments' nodes for their imports only; faulty ones are reported when used."""
    from trainers.stream.volume_source import GT, MASK, RAW

    for augment in augments:
        with suppress(Exception):
            augment.node(RAW, GT, MASK)


@contextmanager
def _without_torch() -> Iterator[None]:
    """Make `import torch` fail: gunpowder goes without, starts faster, and takes 180 MB less.

    None in `sys.modules` makes an import raise ModuleNotFoundError.
    """
    absent = sys.modules.setdefault("torch", None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if absent:
            del sys.modules["torch"]


def _portable(error: Exception) -> Exception:
    """Convert an error to one that the parent can unpickle, with this process's traceback."""
    text = traceback.format_exc()
    if isinstance(error, TrainerError | MemoryError):
        error.add_note(text)
        return error
    return StreamError(f"a worker process cannot start\n{text}")


if __name__ == "__main__":
    main()

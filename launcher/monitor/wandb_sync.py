"""Bring offline runs to W&B, from a machine that reaches it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any

from attrs import field, frozen

from launcher.os_errors import PatientReader
from trainers.errors import TrainerError
from trainers.run.run_folder import RunFolder
from trainers.run.wandb_record import is_complete, read_wandb_record

MAX_WORKERS = 2
"""Each has up to four connections to W&B."""
MAX_FAILURES = 6
"""In a row, without a success: W&B is away, and each further run would take a minute to fail."""


@frozen(kw_only=True)
class SyncResult:
    """What became of a run; see `trainers.metrics.sync_worker`."""

    folder: str
    outcome: str
    """synced, complete, open, disabled or failed."""
    reason: str = ""
    iteration: int | None = None
    """The last one that W&B has a row of."""
    after: int | None = field(default=None)
    """The last one that it had a row of before."""


def sync_runs(runs: Sequence[RunFolder]) -> Iterator[SyncResult]:
    """Bring runs to W&B; yield what became of each, as it is done.

    Runs that W&B has completely, and those that it is told of at the moment, are left alone. It may
    be ended at any time: the next one goes on from what the server has.

    Raises:
        OSError: No process can be started.
    """
    waiting: queue.SimpleQueue[RunFolder] = queue.SimpleQueue()
    results: queue.SimpleQueue[SyncResult | BaseException | None] = queue.SimpleQueue()
    num_due = 0
    reader = PatientReader()
    for run in runs:
        if is_due(run, reader):
            waiting.put(run)
            num_due += 1
        else:
            yield SyncResult(folder=str(run.path), outcome="complete")
    workers = [
        Thread(target=_work, args=(waiting, results), daemon=True)
        for _ in range(min(MAX_WORKERS, num_due))
    ]
    for worker in workers:
        worker.start()
    num_ended, num_failures = 0, 0
    while num_ended < len(workers):
        result = results.get()
        if isinstance(result, BaseException):
            raise result
        if result is None:
            num_ended += 1
            continue
        yield result
        num_failures = num_failures + 1 if result.outcome == "failed" else 0
        if num_failures >= MAX_FAILURES:
            yield from _leave(waiting, result.reason)


def is_due(run: RunFolder, reader: PatientReader) -> bool:
    """Return whether W&B may lack something of a run; True if that cannot be read at present."""
    try:
        record = reader.read(partial(read_wandb_record, run))
        return record is None or not reader.read(partial(is_complete, run, record))
    except (TrainerError, OSError):
        return True  # the worker says what is wrong


def _leave(waiting: queue.SimpleQueue[RunFolder], reason: str) -> Iterator[SyncResult]:
    with suppress(queue.Empty):
        while True:
            run = waiting.get_nowait()
            yield SyncResult(folder=str(run.path), outcome="failed", reason=f"not tried: {reason}")


def _work(
    waiting: queue.SimpleQueue[RunFolder],
    results: queue.SimpleQueue[SyncResult | BaseException | None],
) -> None:
    try:
        _feed_workers(waiting, results.put)
    except BaseException as error:
        results.put(error)
    results.put(None)


def _feed_workers(waiting: queue.SimpleQueue[RunFolder], put: Callable[[SyncResult], None]) -> None:
    """Have a process sync what waits; start another one after one that has died."""
    process: subprocess.Popen[str] | None = None
    try:
        while True:
            try:
                run = waiting.get_nowait()
            except queue.Empty:
                return
            if process is None:
                process = _start()
            answer = _ask(process, run)
            if answer is None:
                status = _end(process)
                process = None
                reason = f"the process that brought it to W&B has ended with status {status}"
                put(SyncResult(folder=str(run.path), outcome="failed", reason=reason))
            else:
                put(SyncResult(**answer))
    finally:
        if process is not None:
            _end(process)


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trainers.metrics.sync_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> int:
    """Let a worker end, and return its exit status."""
    with suppress(BrokenPipeError), process:
        pass  # closes its stdin, and waits
    return process.wait()


def _ask(process: subprocess.Popen[str], run: RunFolder) -> dict[str, Any] | None:
    """Return what a worker answers; None if it has died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{run.path}\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return dict(json.loads(line)) if line.endswith("\n") else None

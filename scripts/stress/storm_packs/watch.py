"""Look on while runs are trained: what each had done and lost, and how long its processes lived."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Thread
from typing import Any

from attrs import define, field, frozen

from trainers.run.run_folder import RunFolder

POLL_S = 0.1
STATUS_POLL_S = 3.0


@define(kw_only=True)
class Life:
    """The processes of one attempt on one node."""

    run: str
    attempt: int
    job: str
    node: str
    gpus: tuple[str, ...]
    share: float
    pids: tuple[int, ...]
    began: float
    """Unix time, as the next ones."""
    seen: float = 0.0
    """When one of its processes was last seen; on a busy machine long before `ended`."""
    ended: float | None = None
    """When the last process was seen to be gone."""
    descriptors: dict[int, int] = field(factory=dict)
    """Of the processes that live, by their numbers."""

    def look(self, now: float) -> None:
        for pid, descriptor in list(self.descriptors.items()):
            if select.select([descriptor], [], [], 0)[0]:
                os.close(descriptor)
                del self.descriptors[pid]
        if self.descriptors:
            self.seen = now
        elif self.ended is None:
            self.ended = now

    @classmethod
    def of(cls, run: str, event: dict[str, Any]) -> Life:
        life = cls(
            run=run,
            attempt=event["attempt"],
            job=event["job"],
            node=event["node"],
            gpus=tuple(event["gpus"]),
            share=event["share"],
            pids=tuple(event["pids"]),
            began=event["time"],
        )
        for pid in life.pids:
            try:
                life.descriptors[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        return life


@frozen(kw_only=True)
class Loss:
    """Iterations that were done before an attempt ended, and had to be done again."""

    run: str
    began: float
    """When the attempt that lost them was launched."""
    restored: float
    """When the next one went on."""
    done: int
    lost: int


class _RunWatch:
    def __init__(self, folder: RunFolder) -> None:
        self.name = folder.name
        self.folder = folder
        self.lives: list[Life] = []
        self.losses: list[Loss] = []
        self.torn_lines: list[tuple[float, str]] = []
        self._offset = 0
        self._done = 0
        self._inode = 0
        self._outdated_inode: int | None = None
        """Of the metrics that the current attempt is about to replace."""
        self._launched: tuple[int, float] | None = None
        """Number and time of the newest attempt."""
        self._trained_since: float | None = None
        """When the attempt was launched that was the last one to train."""

    def look(self, now: float) -> None:
        self._look_at_metrics()
        for event in self._new_events():
            if event["event"] == "launched":
                self.lives.append(Life.of(self.name, event))
                if self._launched is None or self._launched[0] != event["attempt"]:
                    self._launched = (event["attempt"], event["time"])
            elif event["event"] in ("restored", "started"):
                self._note_loss(event)
        for life in self.lives:
            life.look(now)

    def _look_at_metrics(self) -> None:
        inode, done = _rows(self.folder.metrics)
        if inode != self._outdated_inode:
            self._done = max(self._done, done)
        self._inode = inode

    def _note_loss(self, event: dict[str, Any]) -> None:
        iteration = event["iteration"]
        if self._trained_since is not None:
            self.losses.append(
                Loss(
                    run=self.name,
                    began=self._trained_since,
                    restored=event["time"],
                    done=self._done,
                    lost=self._done - iteration,
                )
            )
        inode, done = _rows(self.folder.metrics)
        is_outdated = inode == self._inode and done > iteration
        self._outdated_inode = inode if is_outdated else None
        self._done = iteration
        self._trained_since = self._launched[1] if self._launched else None

    def _new_events(self) -> Iterable[dict[str, Any]]:
        try:
            with self.folder.events.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                self.torn_lines.append((time.time(), f"{self.name}: no event: {line!r}"))


def _rows(metrics: Path) -> tuple[int, int]:
    """The number of the file, and of the iterations in it."""
    try:
        with metrics.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1024))
            lines = file.read().split(b"\n")[:-1]
            inode = os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return 0, 0
    return inode, json.loads(lines[-1])["iteration"] + 1 if lines else 0


class Watch:
    """Of all runs of an experiment, from `with` to the end of its block.

    Args:
        ask_status: Gives what `launch status` tells of each run, or raises.
    """

    def __init__(
        self, runs: Iterable[RunFolder], ask_status: Callable[[], dict[str, dict[str, Any]]]
    ) -> None:
        self.shown_failed: list[tuple[str, float, str]] = []
        """Run, time and reason, each time that a run was shown as failed."""
        self.stranded: dict[str, tuple[float, str]] = {}
        """Runs that nobody is going to resume: since when, and the last job."""
        self.errors: list[tuple[float, str]] = []
        """What went wrong while looking on, and since when."""
        self.num_statuses = 0
        self._runs = [_RunWatch(each) for each in runs]
        self._ask_status = ask_status
        self._over = Event()
        self._threads = [Thread(target=each, daemon=True) for each in (self._look, self._ask)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def lives(self) -> list[Life]:
        return [life for run in self._runs for life in run.lives]

    @property
    def torn_lines(self) -> list[tuple[float, str]]:
        """Lines of events that are cut short, and when they were seen."""
        return [line for run in self._runs for line in run.torn_lines]

    @property
    def losses(self) -> list[Loss]:
        return [loss for run in self._runs for loss in run.losses]

    def _look(self) -> None:
        while not self._over.wait(POLL_S):
            for run in self._runs:
                now = time.time()
                try:
                    run.look(now)
                except ValueError as error:
                    self.errors.append(
                        (now, f"{run.name}: a line of its files is damaged: {error}")
                    )

    def _ask(self) -> None:
        while not self._over.wait(STATUS_POLL_S):
            asked = time.time()
            try:
                statuses = self._ask_status()
            except Exception as error:
                self.errors.append((asked, f"launch status: {error}"))
                continue
            answered = time.time()  # on a busy machine, seconds later
            self.num_statuses += 1
            for name, status in statuses.items():
                if status["state"] == "failed":
                    self.shown_failed.append((name, answered, status["reason"]))
                is_stranded = status["state"] == "waiting" and not status["is_expected"]
                if not is_stranded:
                    self.stranded.pop(name, None)
                elif name not in self.stranded:
                    self.stranded[name] = (asked, status["job_id"])

"""Kill a training that saves, at a random moment, and let the next one resume; again and again."""

from __future__ import annotations

import itertools
import random
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from scripts.stress.fuzz_checkpoint.counting_state import CountingState, mistakes
from scripts.stress.fuzz_checkpoint.file_faults import Fault, FileFaults
from scripts.stress.fuzz_checkpoint.findings import (
    KEEP_LAST,
    Findings,
    in_words,
    open_store,
    wrong_in,
)
from scripts.stress.fuzz_checkpoint.forked import Forked, Hung, Say
from trainers.checkpoints import CheckpointStore
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer, Commit

KILLS_PER_CHAIN = 25
SIZES = (1_000, 60_000, 400_000, 3_000_000, 18_000_000, 40_000_000)
"""Bytes of a state; of the last two there are several chunks."""
WEIGHTS = (3, 4, 4, 4, 2, 1)
MAX_SAVES = 3
"""One of so many first saves of a training is hit."""
AT_START = 0.15
"""This share of the kills comes before the first save begins."""


class KillChain:
    """Trainings of one run, each killed, and each beginning where the one before was killed."""

    def __init__(self, name: str, num_kills: int, folder: Path, seed: str) -> None:
        self._name = name
        self._num_kills = num_kills
        self._checkpoints = folder / "run" / "checkpoints"
        self._checkpoints.parent.mkdir(parents=True)
        self._log = folder / "log"
        self._faults = FileFaults()
        self._draw = random.Random(f"{seed}/{name}")
        self._num_bytes = self._draw.choices(SIZES, WEIGHTS)[0]
        self._begun = self._acknowledged = self._num_acknowledged = 0
        self._begun_at = 0.0
        self._start_s = deque([0.05], maxlen=20)
        self._save_s: deque[float] = deque(maxlen=20)
        self._findings = Findings()

    def run(self) -> Findings:
        while self._findings.num_cases < self._num_kills and not self._findings.problems:
            try:
                self._train_and_kill()
            except Hung as error:
                self._wrong(str(error))
        if not self._findings.problems:
            self._train_and_end()
        return self._findings

    def _train_and_kill(self) -> None:
        self._faults.arm(Fault(), self._checkpoints.parent)
        pace = random.Random(self._draw.random())
        forked_at = time.monotonic()
        child = Forked(lambda say: train(self._checkpoints, self._num_bytes, pace, say), self._log)
        is_known = len(self._save_s) >= MAX_SAVES
        if is_known and self._draw.random() < AT_START:
            moment = self._draw.uniform(0, 1.2 * statistics.median(self._start_s))
        else:
            last = self._begun + (self._draw.randint(1, MAX_SAVES) if is_known else MAX_SAVES + 1)
            while self._begun < last:
                line = child.line()
                if line is None:
                    self._wrong(f"the training ended by itself: {child.exit_code}")
                    return
                self._note(line)
                if self._begun == last and line.startswith("restored"):
                    self._start_s.append(time.monotonic() - forked_at)
            moment = self._draw.uniform(0, 1.1 * statistics.median(self._save_s or [0.02]))
        deadline = time.monotonic() + moment
        while (left := deadline - time.monotonic()) > 0 and child.says_within(left):
            line = child.line()
            if line is None:
                break
            self._note(line)
        child.kill()
        for line in child.lines():
            self._note(line)
        if child.exit_code != -9:
            self._wrong(f"the training ended by itself: {child.exit_code}")
        self._findings.num_cases += 1
        self._findings.seen[self._place()] += 1

    def _train_and_end(self) -> None:
        """The last kill's damage is looked for as well."""
        folder = self._checkpoints
        child = Forked(lambda say: _look_only(folder, say), self._log)
        for line in child.lines():
            self._note(line)
        if child.exit_code:
            self._wrong(f"opening the store failed: {child.exit_code}")

    def _note(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "begin":
            self._begun, self._begun_at = int(rest), time.monotonic()
        elif word == "committed":
            self._acknowledged = int(rest)
            self._num_acknowledged += 1
            if self._acknowledged == self._begun:
                self._save_s.append(time.monotonic() - self._begun_at)
        elif word == "restored":
            newest, number = map(int, rest.split())
            if not self._acknowledged <= newest <= self._begun:
                self._wrong(
                    f"{self._acknowledged} was acknowledged, {self._begun} begun, "
                    f"and {newest} restored"
                )
            if number < min(KEEP_LAST, self._num_acknowledged):
                self._wrong(f"{number} checkpoints are there, of {self._num_acknowledged}")
            self._begun = self._acknowledged = newest
        else:
            self._wrong(rest)

    def _place(self) -> str:
        """How far the killed process had come."""
        number = self._faults.num_calls
        if not number:
            return "before anything"
        when = "after" if self._faults.is_done(number) else "during"
        return f"{when} {in_words(self._faults.call(number))}"

    def _wrong(self, text: str) -> None:
        self._findings.problems.append(
            f"{self._name}, state of {self._num_bytes:,} bytes, "
            f"kill {self._findings.num_cases}: {text}; log: {self._log}"
        )


def kill_chain(name: str, num_kills: int, folder: Path, *, seed: str) -> Findings:
    """
    Args:
        folder: For the run and the log; it must not exist.
    """
    findings = KillChain(name, num_kills, folder, seed).run()
    if not findings.problems:
        shutil.rmtree(folder)
    return findings


def train(folder: Path, num_bytes: int, pace: random.Random, say: Say) -> None:
    """Resume from the newest checkpoint, and save, until killed."""
    store = open_store(folder)
    restored = look(store, folder, say)
    state = CountingState(num_bytes)
    saver = AsyncCheckpointer(store, on_commit=_saying(say))
    saver.prepare(state.state_dict())
    for iteration in itertools.count(restored + 1):
        state.advance(iteration)
        say(f"begin {iteration}")
        if pace.random() < 0.1:
            saver.save(iteration, state.state_dict())
            continue
        saver.start(iteration, state.state_dict())
        if pace.random() < 0.7:
            state.advance(0)  # what training does to the weights while they are being written
            saver.wait()
        else:
            time.sleep(pace.uniform(0, 0.005))


def look(store: CheckpointStore, folder: Path, say: Say) -> int:
    """Restore as a training does, and see to it that all in the store is whole."""
    newest = store.newest()
    iteration = newest.iteration if newest else 0
    if newest:
        for each in mistakes(iteration, newest.state):
            say(f"wrong {each}")
    for each in wrong_in(folder):
        say(f"wrong {each}")
    say(f"restored {iteration} {len(store.iterations())}")
    return iteration


def _look_only(folder: Path, say: Say) -> None:
    look(open_store(folder), folder, say)


def _saying(say: Say) -> Callable[[Commit], None]:
    return lambda commit: say(f"committed {commit.iteration}")

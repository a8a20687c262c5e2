"""A run that is stopped again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import time

import attrs
from attrs import frozen

from scripts.stress.soak_resume.cases import Case
from scripts.workloads.logs import tail
from scripts.workloads.ranks import start_rank
from trainers import exit_codes
from trainers.config.config_io import write_run_config
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.run.run_folder import RunFolder

WORKERS = (0, 1, 2, 4)
MAX_STOPS = 3
START_S = 6.0
"""About how long the start of a rank takes; stops at the start come up to then."""
RANK_TIMEOUT_S = 900


@frozen
class Stop:
    """A signal to all ranks."""

    signum: signal.Signals
    passes: int
    """Wait for so many forward passes of the first rank in this attempt; 0 does not."""
    then_s: float
    """And then so long."""

    def __str__(self) -> str:
        since = f"pass {self.passes}" if self.passes else "the start"
        return f"{self.signum.name} {self.then_s:.2f} s after {since}"


@frozen
class Attempt:
    size: int
    workers: int
    stop: Stop | None

    def __str__(self) -> str:
        return f"{self.size} ranks, {self.workers} workers: {self.stop or 'to the end'}"


def draw_stop(draw: random.Random, num_passes: int) -> Stop:
    """
    Args:
        num_passes: Of the first rank in an attempt that nothing stops.
    """
    signum = draw.choice((signal.SIGTERM, signal.SIGKILL))
    if draw.random() < 0.2:
        return Stop(signum, 0, draw.uniform(0, START_S))
    return Stop(signum, draw.randint(1, max(1, num_passes // 2)), draw.uniform(0, 0.2))


class Life:
    """A run from its first attempt to its end."""

    def __init__(self, folder: RunFolder, case: Case, num_iterations: int) -> None:
        self.folder = folder
        self.attempts: list[Attempt] = []
        self._case = case
        self._pulse = folder.path / "pulse"
        self._config = case.config(num_iterations, self._pulse)
        folder.logs.mkdir(parents=True)

    def undisturbed(self) -> None:
        if not self._try(Attempt(self._case.reference_ranks, 0, None)):
            raise RuntimeError(f"the undisturbed run was stopped:\n{self.last_words()}")

    def disturbed(self, draw: random.Random) -> None:
        """With another number of ranks in every attempt, as far as the case allows it."""
        allowed = self._case.allowed_ranks
        size = draw.choice(allowed)
        for is_last in [*[False] * draw.randint(1, MAX_STOPS), True]:
            num_passes = self._config.num_iterations * self._case.num_micro_batches // size
            stop = None if is_last else draw_stop(draw, num_passes)
            if self._try(Attempt(size, draw.choice(WORKERS), stop)):
                return
            size = draw.choice([other for other in allowed if other != size] or allowed)

    @property
    def stops(self) -> list[Stop]:
        """Those that ended an attempt."""
        return [attempt.stop for attempt in self.attempts[:-1] if attempt.stop]

    def last_words(self) -> str:
        logs = [
            self.folder.log(len(self.attempts) - 1, rank) for rank in range(self.attempts[-1].size)
        ]
        return "\n".join(map(tail, logs))

    def _try(self, attempt: Attempt) -> bool:
        """Whether it was the last one that was needed."""
        number = len(self.attempts)
        self.attempts.append(attempt)
        assert isinstance(self._config.trainer, GunpowderTrainerConfig)
        trainer = attrs.evolve(self._config.trainer, num_data_fetchers=attempt.workers)
        write_run_config(self.folder.config, attrs.evolve(self._config, trainer=trainer))
        words = ["-m", "trainers", str(self.folder.path), f"--attempt={number}", "--owner=soak"]
        passes_before = self._num_passes()
        ranks = []
        for rank in range(attempt.size):
            with self.folder.log(number, rank).open("wb") as log:
                ranks.append(start_rank(words, rank, attempt.size, attempt.size, log))
        try:
            if attempt.stop:
                self._stop(ranks, attempt.stop, passes_before)
            ends = {rank.wait(RANK_TIMEOUT_S) for rank in ranks}
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        if ends == {exit_codes.FINISHED}:
            return True
        stopped = {exit_codes.FINISHED, exit_codes.STOPPED}
        if attempt.stop:
            stopped |= {-attempt.stop.signum, exit_codes.FAILED}  # some have lost others
        if not ends <= stopped or ends == {exit_codes.FAILED}:
            raise RuntimeError(f"exit statuses {ends} of {attempt}:\n{self.last_words()}")
        return False

    def _stop(self, ranks: list[subprocess.Popen[bytes]], stop: Stop, passes_before: int) -> None:
        while self._num_passes() < passes_before + stop.passes:
            if all(rank.poll() is not None for rank in ranks):
                return
            time.sleep(0.01)
        time.sleep(stop.then_s)
        for rank in ranks:
            rank.send_signal(stop.signum)

    def _num_passes(self) -> int:
        return self._pulse.stat().st_size if self._pulse.exists() else 0

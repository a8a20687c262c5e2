"""What only looks like a hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from attrs import frozen

from scripts.benchmarks.bench_hangs.trainer import Trainer
from scripts.workloads.fault_windows import HANG
from scripts.workloads.hangs import IN_A_PROCESS, leave_act
from scripts.workloads.processes import children
from trainers import exit_codes

COMPILATION_S = 70.0
SUSPENSION_S = 90.0
BUSY_S = 120.0
BALLAST_MB = 128
WRITE_S = 18.0
"""For two chunks of 16 MiB: 1/20 of the speed of a disk with 36 MB/s; a save takes 72 s."""
MIN_SAVE_S = 65.0


@frozen(kw_only=True)
class Quiet:
    """How a trainer that did not hang has ended, when it was asked to."""

    seconds: float
    """For which it was slow."""
    exit_codes: tuple[int, ...]

    @property
    def is_right(self) -> bool:
        return set(self.exit_codes) == {exit_codes.STOPPED}


def first_step(trainer: Trainer) -> Quiet:
    """It compiles."""
    act = leave_act(trainer.folder, "sleep", seconds=COMPILATION_S)
    trainer.start()
    trainer.begun(act)
    return _after(trainer, lambda: trainer.wait_for_more(1))


def suspension(trainer: Trainer) -> Quiet:
    """As by gang scheduling: two ranks with their workers stop, and go on."""
    trainer.start(size=2, overrides=IN_A_PROCESS)
    trainer.wait_until_known("step", "collective", "data")

    def suspend() -> None:
        ranks = {rank.pid for rank in trainer.attempt.ranks}
        processes = ranks.union(*map(children, ranks))
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        time.sleep(SUSPENSION_S)
        for each in processes:
            os.kill(each, signal.SIGCONT)

    return _after(trainer, suspend)


def slow_save(trainer: Trainer) -> Quiet:
    """A disk that has become slow: each write takes its time."""
    trainer.start(ballast_mb=BALLAST_MB)
    trainer.wait_until_known("step", "save")

    def save() -> None:
        while trainer.state.slowest_sections_s["save"] < MIN_SAVE_S:
            window = trainer.windows.open(
                trainer.run.checkpoints, HANG, ("write",), seconds=WRITE_S
            )
            trainer.sleep_while_open(window)

    return _after(trainer, save)


def busy_cores(trainer: Trainer) -> Quiet:
    """Nothing else than the busy loops beside it."""
    trainer.start(overrides=IN_A_PROCESS)
    trainer.wait_until_known("step", "data")
    return _after(trainer, lambda: time.sleep(BUSY_S))


def _after(trainer: Trainer, disturb: Callable[[], object]) -> Quiet:
    """Have a trainer go on after what disturbs it, and stop it."""
    began = time.monotonic()
    disturb()
    seconds = time.monotonic() - began
    trainer.wait_for_more(5)
    return Quiet(seconds=seconds, exit_codes=tuple(trainer.stop()))


QUIET: dict[str, Callable[[Trainer], Quiet]] = {
    "first step of 70 s": first_step,
    "suspended for 90 s": suspension,
    "save, slow but moving": slow_save,
    "two busy cores": busy_cores,
}
"""By name, in the order of the report."""

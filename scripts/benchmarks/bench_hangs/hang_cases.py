"""A hang in each section."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from attrs import frozen

from scripts.benchmarks.bench_hangs.trainer import Trainer
from scripts.workloads.fault_windows import HANG
from scripts.workloads.hangs import IN_A_PROCESS, leave_act, worker_of
from trainers import exit_codes
from trainers.run.sections import FACTOR, HANG_PREFIX, MIN_BOUND_S

TOLERANCE_S = 5.0
"""The watchdog looks once a second, then prints the stacks, on cores that others use too."""
_GIVE_UP_S = 60.0
"""After the bound."""


@frozen(kw_only=True)
class Ending:
    """How a trainer that hangs has ended."""

    section: str
    slowest_s: float
    """So far, over all attempts."""
    seconds: float | None
    """From the beginning of the hang to the end of the process; None if that did not come."""
    exit_code: int
    must_exit: int
    is_named: bool
    """Whether the log says where it hung: the section, or the frame if the GIL was kept."""
    last_line: str

    @property
    def bound_s(self) -> float:
        return max(MIN_BOUND_S, FACTOR * self.slowest_s)

    @property
    def is_right(self) -> bool:
        return (
            self.seconds is not None
            and self.bound_s - TOLERANCE_S <= self.seconds <= self.bound_s + TOLERANCE_S
            and self.exit_code == self.must_exit
            and self.is_named
        )


def step(trainer: Trainer) -> Ending:
    trainer.start()
    trainer.wait_until_known("step")
    return _ending(trainer, "step", trainer.act("sleep"))


def slow_steps(trainer: Trainer) -> Ending:
    """An iteration of 16 s was seen: the bound is five times that."""
    trainer.start()
    trainer.wait_until_known("step")
    trainer.act("sleep", seconds=16)
    trainer.wait_until(lambda: trainer.state.slowest_sections_s["step"] > 15)
    return _ending(trainer, "step", trainer.act("sleep"))


def step_with_gil(trainer: Trainer) -> Ending:
    """Python does not run: the operating system's timer ends the process."""
    trainer.start()
    trainer.wait_until_known("step")
    began = trainer.act("keep_the_gil")
    return _ending(trainer, "step", began, must_exit=-signal.SIGALRM, words="in keep_the_gil")


def second_step_with_gil(trainer: Trainer) -> Ending:
    """Nothing has looked at the sections since the first step, which had a longer bound."""
    act = leave_act(trainer.folder, "sleep", seconds=5)
    trainer.start()
    trainer.begun(act)
    began = trainer.act("keep_the_gil")
    return _ending(trainer, "step", began, must_exit=-signal.SIGALRM, words="in keep_the_gil")


def data(trainer: Trainer) -> Ending:
    """The worker process is stopped."""
    trainer.start(overrides=IN_A_PROCESS)
    trainer.wait_until_known("step", "data")
    worker = worker_of(trainer.attempt.ranks[0].pid)
    os.kill(worker, signal.SIGSTOP)
    return _ending(trainer, "data", time.monotonic())


def save(trainer: Trainer) -> Ending:
    """The file system hangs as a checkpoint is made durable."""
    trainer.start()
    trainer.wait_until_known("step", "save")
    with trainer.windows.open(trainer.run.checkpoints, HANG, ("fsync",)) as window:
        return _ending(trainer, "save", trainer.struck(window))


def collective(trainer: Trainer) -> Ending:
    """Rank 0 waits for the vote of a rank that hangs long enough for it to ask, then is stopped.

    That it has asked about the other rank before must not make it more patient.
    """
    trainer.start(size=2)
    trainer.wait_until_known("step", "collective")
    trainer.act("be_late_to_vote", rank=1, seconds=13)
    trainer.wait_for_more(5)
    trainer.act("be_late_to_vote", rank=1, seconds=0.5)
    began = time.monotonic()
    trainer.attempt.ranks[1].send_signal(signal.SIGSTOP)
    return _ending(trainer, "collective", began)


def gradients(trainer: Trainer) -> Ending:
    """A rank is stopped in its step; the other one waits for its gradients in its own."""
    trainer.start(size=2)
    trainer.wait_until_known("step", "collective")
    return _ending(trainer, "step", trainer.act("stop", rank=1))


def start(trainer: Trainer) -> Ending:
    """An import, in the second attempt."""
    trainer.start()
    trainer.stop_early("start")
    act = leave_act(trainer.folder, "sleep_at_import")
    trainer.start_again(comes_far=False)
    return _ending(trainer, "start", trainer.begun(act))


def restore(trainer: Trainer) -> Ending:
    """The checkpoint cannot be read in the third attempt: the second has read one."""
    trainer.start()
    trainer.stop_early()
    trainer.start_again()
    trainer.wait_for_more(1)
    trainer.stop_early("restore")
    window = trainer.windows.open(trainer.run.checkpoints, HANG, ("read",), part="safetensors")
    with window:
        trainer.start_again(comes_far=False)
        return _ending(trainer, "restore", trainer.struck(window))


def close(trainer: Trainer) -> Ending:
    """A function that a library has registered with atexit, in the second attempt."""
    trainer.start()
    trainer.stop_early()
    trainer.start_again()
    trainer.wait_for_more(1)
    act = leave_act(trainer.folder, "sleep_at_exit")
    trainer.attempt.ranks[0].send_signal(signal.SIGTERM)
    return _ending(trainer, "close", trainer.begun(act))


def first_step_of_rank_1(trainer: Trainer) -> Ending:
    """At once after a resume: it knows only what rank 0 has recorded."""
    trainer.start(size=2)
    trainer.stop_early("collective")
    trainer.start_again()
    return _ending(trainer, "step", trainer.act("sleep", rank=1), rank=1)


def _ending(
    trainer: Trainer,
    section: str,
    began: float,
    *,
    rank: int = 0,
    must_exit: int = exit_codes.HANG,
    words: str = "",
) -> Ending:
    """Wait for the end of a rank that hangs since a moment.

    Args:
        words: In its log; by default its last line must name the section.
    """
    slowest_s = trainer.state.slowest_sections_s.get(section, 0.0)
    bound_s = max(MIN_BOUND_S, FACTOR * slowest_s)
    process = trainer.attempt.ranks[rank]
    seconds: float | None = None
    try:
        process.wait(timeout=began + bound_s + _GIVE_UP_S - time.monotonic())
        seconds = time.monotonic() - began
    except subprocess.TimeoutExpired:
        pass
    trainer.attempt.kill()
    last_line = trainer.last_line(rank)
    named = words or f"{HANG_PREFIX} no progress in section {section} "
    return Ending(
        section=section,
        slowest_s=slowest_s,
        seconds=seconds,
        exit_code=process.returncode,
        must_exit=must_exit,
        is_named=named in (trainer.log(rank) if words else last_line),
        last_line=last_line,
    )


HANGS: dict[str, Callable[[Trainer], Ending]] = {
    "step": step,
    "step after one of 16 s": slow_steps,
    "step, GIL kept": step_with_gil,
    "second step, GIL kept": second_step_with_gil,
    "data: worker stopped": data,
    "save: fsync": save,
    "collective: rank 1 stopped": collective,
    "gradients: rank 1 stopped": gradients,
    "start: import": start,
    "restore: read": restore,
    "close: at exit": close,
    "first step of rank 1": first_step_of_rank_1,
}
"""By name, in the order of the report."""

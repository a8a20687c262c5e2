"""One process of a member of a pack."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.environment import for_run
from launcher.job.gpu_driver import CUDA, GPU_VARIABLES, ROCM
from launcher.job.slots import Slot


class MemberProcess:
    """A trainer in its own session and process group, confined to its slot.

    The process group lets `kill` reach the data workers that the trainer has started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        slot: Slot,
        gpus: Sequence[str],
        cpus: int,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start the process.

        Args:
            gpus: Those of the slot's GPUs that are visible to it.
            cpus: The number of threads for its numeric libraries.
            log: Its stdout and stderr are appended here.
            environment: Additional environment variables.

        Raises:
            OSError: The program does not exist, or the machine can start no more processes.
        """
        self.log = log
        self._was_killed = False
        self._asked_to_stop_s: float | None = None
        inherited = for_run(os.environ)
        others = {name: value for name, value in inherited.items() if name not in GPU_VARIABLES}
        hiding = (slot.machine.gpu_variable,) if gpus else (CUDA, ROCM)
        variables = {
            **others,
            **dict.fromkeys(hiding, ",".join(gpus)),
            "LAUNCH_SUPERVISOR_PID": str(os.getpid()),
            "OMP_NUM_THREADS": str(cpus),
            "PYTHONSAFEPATH": "1",  # a `trainers/` in the working directory would shadow ours
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output, _on_cores(slot.cores):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
                pass_fds=slot.descriptors,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether the trainer has exited; its process id stays reserved until `clean_up`.

        WNOWAIT leaves it a zombie: `Popen.poll` would reap it, and a later `killpg` could hit a
        process group that has reused the number.
        """
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return status is not None

    def ask_to_stop(self, now_s: float) -> None:
        """Signal the trainer to checkpoint and exit; only the first call has an effect."""
        if self._asked_to_stop_s is None:
            self._asked_to_stop_s = now_s
            if not self.has_ended():
                os.kill(self.pid, signal.SIGTERM)

    def has_exceeded_grace(self, grace_s: float, now_s: float) -> bool:
        """Return whether it was asked to stop more than `grace_s` ago and not killed since."""
        if self._was_killed or self._asked_to_stop_s is None:
            return False
        return now_s > self._asked_to_stop_s + grace_s

    def kill(self) -> None:
        """Kill the trainer and every process that it has started."""
        self._was_killed = True
        os.killpg(self.pid, signal.SIGKILL)

    def clean_up(self) -> int:
        """Kill what a trainer that has exited left behind, and return its exit status."""
        # Before the wait: as long as the trainer is a zombie, the group's number is not reused.
        os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()


@contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Pin the body, and the processes it starts, to these cores; to none if some are not ours.

    The child inherits the affinity. A `preexec_fn` could set it too, but it makes `subprocess`
    fork instead of vfork and is unsafe beside threads.
    """
    before = os.sched_getaffinity(0)
    if cores and before.issuperset(cores):
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

"""One process of a member of a pack."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.job.slots import Slot


class MemberProcess:
    """A trainer in a session and process group of its own, confined to its slot."""

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
        """Start it.

        Args:
            gpus: Those of the slot that it sees.
            cpus: How many threads its libraries use.
            log: What it prints is added here.
            environment: Variables of its own.

        Raises:
            OSError: There is no such program, or the machine can start no more processes.
        """
        self.log = log
        self._was_killed = False
        self._asked_to_stop_s: float | None = None
        variables = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": ",".join(gpus),
            "LAUNCH_SUPERVISOR_PID": str(os.getpid()),
            "OMP_NUM_THREADS": str(cpus),
            "PYTHONSAFEPATH": "1",
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
        """Whether the trainer is gone; its process id stays taken until `clean_up`."""
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return status is not None

    def ask_to_stop(self, now_s: float) -> None:
        """Tell the trainer to checkpoint and go; only the first call does anything."""
        if self._asked_to_stop_s is None:
            self._asked_to_stop_s = now_s
            if not self.has_ended():
                os.kill(self.pid, signal.SIGTERM)

    def has_outstayed(self, grace_s: float, now_s: float) -> bool:
        """Whether it was asked to stop longer than `grace_s` ago, and not killed since."""
        if self._was_killed or self._asked_to_stop_s is None:
            return False
        return now_s > self._asked_to_stop_s + grace_s

    def kill(self) -> None:
        """End the trainer and all that it started."""
        self._was_killed = True
        os.killpg(self.pid, signal.SIGKILL)

    def clean_up(self) -> int:
        """The exit status of a trainer that has ended; ends what it left behind.

        The group is killed before the trainer is waited for: until then its number is its own.
        """
        os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()


@contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Run the body, and what it starts, on these cores; anywhere if some do not exist here."""
    before = os.sched_getaffinity(0)
    if cores and before.issuperset(cores):
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

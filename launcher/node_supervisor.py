"""Start, watch and stop the runs of a pack on one machine."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from launcher import file_lock
from launcher.attempt_end import AttemptEnd
from launcher.attempt_record import last_words, record_end, record_exit
from launcher.experiment_folder import PackFolder
from launcher.member_process import MemberProcess
from launcher.pack import Member, Pack
from launcher.slots import Slot, Slots
from trainers import exit_codes
from trainers.errors import ConfigError
from trainers.run_folder import RunFolder
from trainers.run_state import append_event, read_state, write_state

logger = logging.getLogger(__name__)

POLL_S = 0.2


def trainer_command(folder: RunFolder) -> Sequence[str]:
    """The program that carries a run on."""
    return [sys.executable, "-m", "trainers", str(folder.path)]


class NodeSupervisor:
    """Brings every member of a pack to its end, as many at a time as there are free slots.

    A member's failure is its own. A run is left alone once a later pack has it to do.
    """

    def __init__(
        self,
        folder: PackFolder,
        pack: Pack,
        slots: Slots,
        command: Callable[[RunFolder], Sequence[str]] = trainer_command,
    ) -> None:
        self._folder = folder
        self._experiment = folder.experiment
        self._grace_s = pack.grace_s
        self._slots = slots
        self._command = command
        self._queue = deque(pack.members)
        self._running: dict[RunFolder, MemberProcess] = {}

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Return when no member runs any more, and none is to be started.

        Args:
            should_stop: Once true, members are told to checkpoint and go, and no other begins.
        """
        while self._queue or self._running:
            stopping = should_stop()
            if stopping:
                self._queue.clear()
            self._collect_ended()
            self._stop_members(stopping, now_s=time.monotonic())
            self._start_members()
            time.sleep(POLL_S)

    def _collect_ended(self) -> None:
        for folder, process in list(self._running.items()):
            if process.has_ended():
                del self._running[folder]
                self._record(folder, process)

    def _record(self, folder: RunFolder, process: MemberProcess) -> None:
        exit_status = process.clean_up()
        logger.info("%s: exit status %d", folder.name, exit_status)
        with file_lock.hold(self._experiment.lock):
            if exit_status != exit_codes.NOTHING_TO_DO and self._has_to_do(folder):
                record_exit(
                    folder,
                    exit_status,
                    last_words=last_words(process.log),
                    killed_after_s=self._grace_s if process.was_killed else None,
                )

    def _stop_members(self, stopping: bool, now_s: float) -> None:
        for folder, process in self._running.items():
            if stopping or folder.cancel_request.exists():
                process.ask_to_stop(now_s)
            if process.has_outstayed(self._grace_s, now_s):
                logger.warning("%s: killed, having been asked to stop", folder.name)
                process.kill()

    def _start_members(self) -> None:
        if not self._queue:
            return
        with file_lock.hold(self._experiment.lock):
            while self._queue and self._settle(self._queue[0]):
                self._queue.popleft()

    def _settle(self, member: Member) -> bool:
        """Start a member, unless it is not to be started any more; false if no slot is free."""
        folder = self._experiment.run(member.name)
        if not self._has_to_do(folder):
            return True
        if folder.cancel_request.exists():
            write_state(folder, attrs.evolve(read_state(folder), status="cancelled"))
            return True
        slot = self._slots.take(gpus=member.gpus, cpus=member.cpus)
        if slot is None:
            return False
        self._start(member, folder, slot)
        return True

    def _start(self, member: Member, folder: RunFolder, slot: Slot) -> None:
        """The run counts as running before its process exists: nobody else may start it now."""
        state = read_state(folder)
        write_state(folder, attrs.evolve(state, status="running", reason=""))
        log = folder.log(state.num_attempts)
        command = self._command(folder)
        try:
            process = MemberProcess(command, slot=slot, cpus=member.cpus, log=log)
        except OSError as error:
            slot.close()
            reason = f"{command[0]} could not be started: {error}"
            record_end(folder, AttemptEnd(cause="crashed", status="failed", reason=reason))
            return
        self._running[folder] = process
        append_event(
            folder,
            "launched",
            pack=self._folder.name,
            pid=process.pid,
            gpus=slot.gpus,
            cores=slot.cores,
            log=log.name,
        )
        logger.info("%s: process %d, log %s", member.name, process.pid, log)

    def _has_to_do(self, folder: RunFolder) -> bool:
        """Whether the run is this pack's, and not a later one's; a damaged one is nobody's."""
        try:
            return read_state(folder).pack == self._folder.name
        except ConfigError as error:
            logger.error("%s is left alone: %s", folder.name, error)
            return False

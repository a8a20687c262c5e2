"""A run that is open at W&B: one W&B run over all attempts."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from trainers.metrics.wandb_details import WandbDetails
from trainers.metrics.wandb_process import kill_service
from trainers.metrics.wandb_segments import last_recorded_step, mark_as_synced
from trainers.metrics.wandb_server import TIMEOUT_S, last_step_of, sentence_of
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder

logger = logging.getLogger(__name__)

JOB_TYPE = "train"
INIT_TIMEOUT_S = 60.0
"""Nothing waits for it: a server whose first answer takes long is no reason to go without."""
FINISH_TIMEOUT_S = 10.0
ABANDON_S = 2.0
TRANSMIT_S = 15.0
"""W&B's service sends the rows of so many seconds together."""


class WandbWriter:
    """A run that is open at W&B: one W&B run over all attempts, each iteration once.

    W&B's step is the iteration. Opening asks the server how far W&B has come. Rows after the
    resumed checkpoint are rewound; if W&B refuses, they stay, since the resumed run gives the same
    rows again. Rows after `last_step` are for the caller to write.

    Args:
        mode: `online`, or `offline` for logs that `wandb sync` uploads.
        last_iteration: The last iteration of which metrics.jsonl had a row when the attempt began,
            -1 without one; None if W&B's rows need not be rewound.
        details: Writes the rows, with what else W&B shows.
        attempt: Its number.
        owner: Of the lease on the W&B run, which one process at a time may have open online.
        finish_timeout_s: How long `close` may take; None is FINISH_TIMEOUT_S.

    Raises:
        LeaseHeldError: Another process has it open.
        OSError: The W&B folder of the run cannot be written.
        Exception: Anything else that W&B raises, if it cannot be reached for example.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        mode: str,
        project: str | None,
        entity: str | None,
        run_id: str,
        name: str,
        group: str,
        config: Mapping[str, Any],
        last_iteration: int | None,
        details: WandbDetails,
        attempt: int,
        owner: str,
        finish_timeout_s: float | None = None,
    ) -> None:
        _require_writable(folder.wandb)
        self._run_id = run_id
        self._details = details
        self._finish_timeout_s = FINISH_TIMEOUT_S if finish_timeout_s is None else finish_timeout_s
        self.is_remote = mode == "online"
        self._arguments: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "job_type": JOB_TYPE,
            "config": {**config, **details.config},
            "allow_val_change": True,  # such as a larger num_iterations at a resume
            "dir": str(folder.wandb.parent),
        }
        self._is_open, self._has_service = False, True
        self._lease: Lease | None = None
        if self.is_remote:
            self._lease = Lease.take(
                folder.wandb_lease,
                owner=owner,
                attempt=attempt,
                on_loss=lambda _: kill_service(),
            )
        try:
            if self.is_remote:
                self._run = self._open_online(last_iteration)
                # Not run.step, which is 0 after a resume.
                self.last_step = self._run.starting_step - 1
                mark_as_synced(folder.wandb)  # the caller writes their rows online
            else:
                self._run = self._open_offline(folder, last_iteration)
            self._is_open = True
            self._run.define_metric("*", step_metric="iteration")
            details.begin(self._run, last_step=self.last_step)
        except BaseException:
            self.abandon()
            raise

    last_step: int
    """The last iteration that W&B had a row of when the run was opened; -1 without one."""

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Hand a row over to W&B's service; rows up to `last_step` are left out."""
        if iteration > self.last_step:
            self._details.write(self._run, iteration, scalars)

    def poll(self) -> None:
        """Hand over what has become ready since the last row; call it about once a second."""
        self._details.poll(self._run)

    def confirmed(self, *, timeout_s: float = TIMEOUT_S) -> int:
        """Return the last iteration that the server has a row of; -1 without one.

        Raises:
            ServerError: It does not say.
        """
        return last_step_of(self._run, timeout_s=timeout_s)

    def close(self, *, finished: bool, preempted: bool) -> None:
        """Have all rows sent, and the run shown as finished, preempted, or failed if neither.

        Raises:
            TimeoutError: W&B takes longer than FINISH_TIMEOUT_S.
            Exception: Anything else that W&B raises.
        """
        self._details.end(self._run, finished=finished, preempted=preempted)
        if preempted:
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if finished else 1)
        self._is_open = False
        # At once: its connections count until it has ended.
        end_service()
        self._has_service = False

    def abandon(self) -> None:
        """End W&B's service, which forgets what it has not sent yet."""
        if self._is_open:
            kill_service()
            with suppress(Exception, SystemExit):
                self._run.finish(exit_code=1)  # ends its threads, which would fail aloud
        if self._has_service:
            end_service()
        if self._lease is not None:
            self._lease.release()

    def _open_offline(self, folder: RunFolder, last_iteration: int | None) -> wandb.Run:
        recorded = last_recorded_step(folder.wandb)
        if last_iteration is None or recorded <= last_iteration:
            self.last_step = recorded
            return self._resume("offline")
        self.last_step = max(last_iteration, 0)
        return self._rewind("offline", self.last_step)

    def _open_online(self, last_iteration: int | None) -> wandb.Run:
        run = self._resume("online")
        if last_iteration is None or run.starting_step <= last_iteration + 1:
            return run
        run.finish(exit_code=1)  # the server rewinds only runs that have ended (wandb issue 10438)
        try:
            return self._rewind("online", max(last_iteration, 0))
        except Exception as error:
            logger.info(
                "W&B does not rewind to iteration %d: %s", last_iteration, sentence_of(error)
            )
            end_service()
            return self._resume("online")

    def _resume(self, mode: str) -> wandb.Run:
        return self._init(mode=mode, id=self._run_id, resume="allow")

    def _rewind(self, mode: str, step: int) -> wandb.Run:
        return self._init(mode=mode, resume_from=f"{self._run_id}?_step={step}")

    def _init(self, **how: Any) -> wandb.Run:
        settings = wandb.Settings(
            console="off",
            symlink=False,
            silent=True,
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,  # command line, host, user and e-mail address
            x_disable_machine_info=True,  # its monitor outlives a killed trainer by 5 s
            x_save_requirements=False,
            x_transaction_log_flush_interval=5.0,  # the default loses up to 15 s of rows to SIGKILL
            x_file_stream_transmit_interval=TRANSMIT_S,
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=self._finish_timeout_s,  # the default blocks forever on a dead server
            finish_timeout_raises=True,
        )
        wandb.setup(settings)
        return wandb.init(settings=settings, **how, **self._arguments)


def end_service() -> None:
    """End W&B's service and forget it; the next run starts another one."""
    # After a failed init, a second one of the same id raises "run ID is in use" unless the service
    # was torn down, which waits for what it still has to send. A service that has crashed makes
    # this raise, or exit with the service's status.
    killer = threading.Timer(ABANDON_S, kill_service)
    killer.daemon = True
    killer.start()
    connection: Any = None
    try:
        with suppress(Exception):
            connection = getattr(wandb.setup(), "_connection", None)
        with suppress(Exception, SystemExit):
            wandb.teardown()
        with suppress(Exception):  # a service that was killed is not waited for: it stays a zombie
            connection._proc.join()
    finally:
        killer.cancel()


def _require_writable(folder: Path) -> None:
    """Raise if a folder cannot be written: W&B would silently use /tmp, lost on a compute node."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass

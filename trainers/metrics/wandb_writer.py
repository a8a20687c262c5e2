"""The metric writer for W&B: one W&B run over all attempts."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.wandb_details import WandbDetails
from trainers.metrics.wandb_segments import last_recorded_step, mark_as_synced
from trainers.run.run_folder import RunFolder

logger = logging.getLogger(__name__)

JOB_TYPE = "train"
INIT_TIMEOUT_S = 10.0
FINISH_TIMEOUT_S = 10.0


class WandbWriter(MetricWriter):
    """One W&B run over all attempts, with each iteration once; W&B's step is the iteration.

    An attempt starts by asking how far W&B has come. Rows after the resumed checkpoint are rewound;
    if W&B refuses, they stay, since the resumed run gives the same rows again. Rows that W&B lacks,
    after `last_step`, are written by the caller. Without a server the attempt is recorded offline.

    Args:
        last_iteration: The last iteration that metrics.jsonl has a row of; -1 without one.
        details: Writes the rows, with what else W&B shows.

    Raises:
        OSError: The W&B folder of the run cannot be written.
        Exception: Anything else that W&B raises.
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
        last_iteration: int,
        details: WandbDetails,
    ) -> None:
        _require_writable(folder.wandb)
        self._run_id = run_id
        self._details = details
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
        try:
            self._run = self._open(mode, folder, last_iteration)
            self._run.define_metric("*", step_metric="iteration")
            details.begin(self._run, last_step=self._last_step)
        except BaseException:
            _end_service()
            raise

    @property
    def last_step(self) -> int:
        """The last iteration that W&B has a row of; -1 without one."""
        return self._last_step

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        if iteration > self._last_step:
            self._details.write(self._run, iteration, scalars)

    def sync(self) -> None:
        """Do nothing: the next attempt writes rows that a kill has lost."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        try:
            self._details.end(self._run)
            if preempted:
                self._run.mark_preempting()
            self._run.finish(exit_code=0 if finished else 1)
        finally:
            _end_service()

    def _open(self, mode: str, folder: RunFolder, last_iteration: int) -> wandb.Run:
        if mode == "online":
            try:
                run = self._open_online(last_iteration)
            except Exception as error:  # no route, no key, no permission, a proxy's web page …
                logger.warning("W&B records this attempt offline, in %s: %r", folder.wandb, error)
                _end_service()
            else:
                mark_as_synced(folder.wandb)  # the caller writes their rows online
                # Not run.step, which is 0 after a resume.
                self._last_step = run.starting_step - 1
                return run
        recorded = last_recorded_step(folder.wandb)
        if recorded <= last_iteration:
            self._last_step = recorded
            return self._resume("offline")
        self._last_step = max(last_iteration, 0)
        return self._rewind("offline", self._last_step)

    def _open_online(self, last_iteration: int) -> wandb.Run:
        run = self._resume("online")
        if run.starting_step <= last_iteration + 1:
            return run
        run.finish(exit_code=1)  # the server rewinds only runs that have ended (wandb issue 10438)
        try:
            return self._rewind("online", max(last_iteration, 0))
        except Exception as error:
            logger.info("W&B does not rewind to iteration %d: %r", last_iteration, error)
            _end_service()
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
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,  # the default blocks forever on a dead server
            finish_timeout_raises=True,
        )
        wandb.setup(settings)
        return wandb.init(settings=settings, **how, **self._arguments)


def _end_service() -> None:
    # After a failed init, a second one of the same id raises "run ID is in use" unless the service
    # was torn down. A service that has crashed makes this raise, or exit with the service's status.
    with suppress(Exception, SystemExit):
        wandb.teardown()


def _require_writable(folder: Path) -> None:
    """Raise if a folder cannot be written: W&B would silently use /tmp, lost on a compute node."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass

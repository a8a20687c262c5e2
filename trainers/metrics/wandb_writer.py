"""Show a run in W&B."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.wandb_segments import last_recorded_step, mark_as_synced
from trainers.run.run_folder import RunFolder

logger = logging.getLogger(__name__)

INIT_TIMEOUT_S = 10.0
FINISH_TIMEOUT_S = 10.0


class WandbWriter(MetricWriter):
    """One W&B run over all attempts, with every iteration once; the step of W&B is the iteration.

    An attempt begins by asking how far W&B has come. Rows that the run has lost in a kill are
    rewound; where W&B refuses, they stay, for the same rows are coming again. Rows that W&B has
    lost are the caller's to write: all after `last_step`. A server that cannot be reached makes
    this attempt an offline one.

    Args:
        last_iteration: The last one that the run has a row of; -1 if there is none.
        segment: Which attempt this is; W&B shows it beside every row.

    Raises:
        OSError: The W&B folder of the run cannot be written.
        Exception: Whatever else W&B may raise.
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
        segment: int,
    ) -> None:
        _require_writable(folder.wandb)
        self._run_id = run_id
        self._segment = segment
        self._arguments: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "config": dict(config),
            "allow_val_change": True,  # of num_iterations, say
            "dir": str(folder.wandb.parent),
        }
        try:
            self._run = self._open(mode, folder, last_iteration)
            self._run.define_metric("*", step_metric="iteration")
        except BaseException:
            _end_service()
            raise

    @property
    def last_step(self) -> int:
        """The last iteration that W&B has a row of; -1 if there is none."""
        return self._last_step

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        if iteration > self._last_step:
            row = {"iteration": iteration, "segment": self._segment, **scalars}
            self._run.log(row, step=iteration, commit=True)

    def sync(self) -> None:
        """Does nothing: the rows that a kill takes are written again by the next attempt."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        try:
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
                mark_as_synced(folder.wandb)  # the backlog has their rows
                self._last_step = run.starting_step - 1
                return run
        recorded = last_recorded_step(folder.wandb)
        if recorded <= last_iteration:
            self._last_step = recorded
            return self._continue("offline")
        self._last_step = max(last_iteration, 0)
        return self._rewind("offline", self._last_step)

    def _open_online(self, last_iteration: int) -> wandb.Run:
        run = self._continue("online")
        if run.starting_step <= last_iteration + 1:
            return run
        run.finish(exit_code=1)  # only a run that has ended can be rewound
        try:
            return self._rewind("online", max(last_iteration, 0))
        except Exception as error:
            logger.info("W&B does not rewind to iteration %d: %r", last_iteration, error)
            _end_service()
            return self._continue("online")

    def _continue(self, mode: str) -> wandb.Run:
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
            x_transaction_log_flush_interval=5.0,
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
        )
        wandb.setup(settings)
        return wandb.init(settings=settings, **how, **self._arguments)


def _end_service() -> None:
    # A service that has crashed makes this raise, or exit with the service's status.
    with suppress(Exception, SystemExit):
        wandb.teardown()


def _require_writable(folder: Path) -> None:
    """W&B itself would go to /tmp without a word."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass

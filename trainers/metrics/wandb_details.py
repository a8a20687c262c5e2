"""What W&B shows of a run besides its scalars: details, marks, pictures, system, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from trainers.errors import DataError
from trainers.metrics.run_details import TABLE_COLUMNS, RunDetails, segment_of
from trainers.metrics.wandb_checkpoints import WandbCheckpoints
from trainers.metrics.wandb_server import sentence_of
from trainers.run.run_folder import RunFolder
from trainers.run.system_record import SampleReader
from trainers.snapshots.snapshot_picture import MAX_BYTES, snapshot_picture

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig

logger = logging.getLogger(__name__)

PICTURE_TIMEOUT_S = 30.0
"""How long rows are held back for the picture of a snapshot that is being written."""
MAX_HELD_ROWS = 1000
SAMPLES_INTERVAL_S = 15.0
RECENT_S = 60.0
"""Pictures that were made so shortly before the last one may not have arrived with their rows."""
DETAILS_INTERVAL_S = 5.0
"""Seconds between two looks at the folder of a run that has not said yet where it runs."""


class WandbDetails:
    """Adds to one W&B run what is in the folder of the run; on the thread of W&B's writer.

    The picture of a snapshot is in the row of its iteration, so that a rewind takes both back and
    none comes twice. W&B takes rows in order only: until the snapshot is written, its row and later
    ones are held. A picture that W&B lacks comes from disk with its row.

    Args:
        attempt: The newest one.
        start_iteration: The first iteration of the attempt, of the process that trains; None in
            another one.
    """

    def __init__(
        self, folder: RunFolder, config: RunConfig, *, attempt: int, start_iteration: int | None
    ) -> None:
        self._folder = folder
        self._config = config
        self._attempt = attempt
        self._start_iteration = start_iteration
        self._interval: int | None = getattr(config.trainer, "snapshot_interval", None)
        self._details = RunDetails.read(folder)
        self._last_iteration = -1
        self._held: deque[tuple[int, dict[str, float]]] = deque()
        self._held_since_s: float | None = None
        self._is_late = False  # the last snapshot was: no further row waits until one is in time
        self._has_begun = False
        self._next_look_s = 0.0
        self._is_complete = False
        self._next_samples_s = 0.0
        self._checkpoints = WandbCheckpoints(folder, config)

    @property
    def config(self) -> dict[str, Any]:
        """A section for the config of the W&B run."""
        return {"launch": self._details.config}

    def begin(self, run: wandb.Run, *, last_step: int) -> None:
        """Describe a W&B run that has just been opened, and has the rows up to `last_step`.

        Tags and notes from the browser stay. What a local log has got of system metrics has not
        arrived: `launch sync`, or a later attempt, sends it.
        """
        self._sent = self._folder.wandb / f"system-metrics-{'local' if run.offline else 'sent'}"
        self._samples = SampleReader(self._folder, after=_time_in(self._sent))
        self._last_iteration = last_step
        self._held.clear()
        self._held_since_s = None
        self._is_complete, self._next_look_s = False, 0.0
        missing = [tag for tag in self._config.wandb.tags if tag not in (run.tags or ())]
        if missing:
            run.tags = (*(run.tags or ()), *missing)
        if self._config.wandb.notes and not run.notes:
            run.notes = self._config.wandb.notes
        self._summarize_attempts(run)
        if not run.offline:
            _send_again(run, self._folder.wandb)
        self._checkpoints.begin(run)

    def end(self, run: wandb.Run, *, finished: bool, preempted: bool) -> None:
        """Log what was held back: an attempt that ends writes no further snapshot."""
        self.write_held(run, all_rows=True)
        self._publish_samples(run)
        self._checkpoints.end(run, finished=finished, preempted=preempted)

    def write(self, run: wandb.Run, iteration: int, scalars: Mapping[str, float]) -> None:
        """Log the row of an iteration, or hold it back."""
        self._held.append((iteration, dict(scalars)))
        self.write_held(run)

    def write_held(self, run: wandb.Run, *, all_rows: bool = False) -> None:
        """Log the rows whose pictures are there, or do not come.

        Args:
            all_rows: At the end of an attempt, when no further snapshot is written.
        """
        while self._held:
            iteration, scalars = self._held[0]
            due = self._due_snapshot(iteration)
            if due is not None and not all_rows and self._is_awaited(due):
                return
            self._held.popleft()
            self._held_since_s = None
            row = {"iteration": iteration, **scalars, **self._marks(iteration, scalars)}
            if due is not None and (picture := self._picture(due)):
                row["snapshot"] = picture
            # commit: with a step, W&B keeps the last row back until the next call.
            run.log(row, step=iteration, commit=True)
            self._last_iteration = iteration
            self._look_again(run)

    def poll(self, run: wandb.Run) -> None:
        """Log what has become ready since: rows whose pictures are written, system metrics."""
        self.write_held(run)
        if time.monotonic() >= self._next_samples_s:
            self._next_samples_s = time.monotonic() + SAMPLES_INTERVAL_S
            self._publish_samples(run)
        self._checkpoints.poll(run)

    def _publish_samples(self, run: wandb.Run) -> None:
        """Show new lines of system.jsonl among W&B's system metrics, at their times."""
        try:
            samples = self._samples.read()
            for sample in samples:
                # `Run` has no public method for it, the interface below it has.
                interface: Any = run._interface
                stats = interface._make_stats(dict(sample.metrics))
                stats.timestamp.FromMilliseconds(int(1000 * sample.time))
                interface._publish(interface._make_record(stats=stats))
            if samples:
                self._sent.write_text(f"{self._samples.last_time}")
        except OSError as error:
            logger.debug("no system metrics for W&B at present: %s", error)
        except AttributeError as error:
            self._next_samples_s = math.inf
            logger.warning("this version of W&B takes no system metrics: %s", error)

    def _summarize_attempts(self, run: wandb.Run) -> None:
        """Show why earlier attempts ended. Not at the end of one: a table takes some requests."""
        for cause, count in self._details.causes.items():
            run.summary[f"attempts_by_cause/{cause}"] = count
        if len(self._details.attempts) < 2:
            return
        rows = self._details.table(now=time.time())
        try:
            run.summary["attempts"] = wandb.Table(columns=list(TABLE_COLUMNS), data=rows)
        except Exception as error:  # of W&B's public API, which checks the table's artifact
            logger.info("W&B takes no table of attempts: %s", sentence_of(error))

    def _look_again(self, run: wandb.Run) -> None:
        """Add to the config what the attempt has recorded since, such as its GPU."""
        if self._is_complete or time.monotonic() < self._next_look_s:
            return
        self._next_look_s = time.monotonic() + DETAILS_INTERVAL_S
        self._details = RunDetails.read(self._folder)
        if self._details.knows_environment:
            self._is_complete = True
            run.config.update(self.config, allow_val_change=True)  # type: ignore[no-untyped-call]

    def _marks(self, iteration: int, scalars: Mapping[str, float]) -> dict[str, Any]:
        """Return the attempt that a row belongs to, and whether it is the first one of it.

        W&B's charts have no vertical lines. `loss_at_resume` is the point on the curve of the loss
        at which an attempt resumed, to be drawn in the same chart.
        """
        starts = self._details.starts()
        segment = segment_of(starts, iteration)
        marks: dict[str, Any] = {"segment": self._attempt if segment is None else segment}
        is_first = any(self._last_iteration < start <= iteration for start, _ in starts)
        start = self._start_iteration
        if start is not None and iteration >= start and not self._has_begun:
            # W&B may have had the rows since: it does not rewind every run.
            self._has_begun = is_first = True
        if is_first:
            marks["attempt_started"] = marks["segment"]
            if marks["segment"] and "loss" in scalars:
                marks["loss_at_resume"] = scalars["loss"]
        return marks

    def _due_snapshot(self, iteration: int) -> int | None:
        """Return the iteration of the newest snapshot since the last row; None without one."""
        if not self._interval:
            return None
        newest = iteration - iteration % self._interval
        return newest if newest > self._last_iteration else None

    def _is_awaited(self, snapshot: int) -> bool:
        """Return whether a snapshot is still being written, as far as one can tell."""
        if (self._folder.snapshots / str(snapshot)).exists():
            self._is_late = False
            return False
        is_earlier = self._start_iteration is not None and snapshot < self._start_iteration
        if is_earlier or self._is_late:
            return False
        now = time.monotonic()
        self._held_since_s = self._held_since_s or now
        if now < self._held_since_s + PICTURE_TIMEOUT_S and len(self._held) < MAX_HELD_ROWS:
            return True
        self._is_late = True
        logger.info("W&B gets no picture of iteration %d: there is no snapshot yet", snapshot)
        return False

    def _picture(self, snapshot: int) -> wandb.Image | None:
        path = self._folder.snapshots / str(snapshot)
        if not path.exists():
            return None
        try:
            png = snapshot_picture(path, max_bytes=MAX_BYTES)
        except (DataError, OSError) as error:
            logger.warning("W&B gets no picture of iteration %d: %s", snapshot, error)
            return None
        # From a file, since W&B would encode an image in memory anew, and larger. It copies it.
        picture = self._folder.wandb / "snapshot.png"
        picture.write_bytes(png)
        return wandb.Image(str(picture), caption=f"iteration {snapshot}")


def _send_again(run: wandb.Run, folder: Path) -> None:
    """Send the last pictures of earlier attempts again: their rows arrive before they do.

    A service that is killed in between has W&B show a row without its picture. One that W&B has
    stays as it is, as its name has its step and a hash of its content.
    """
    here = Path(run.dir)
    try:
        made = [
            (path.stat().st_mtime, path, files)
            for files in folder.glob("run-*/files")
            if not files.samefile(here)
            for path in files.glob("media/images/*")
            if not path.is_symlink()
        ]
        newest = max((made_at for made_at, _, _ in made), default=0.0)
        for made_at, path, files in made:
            if made_at > newest - RECENT_S:
                run.save(str(path), base_path=str(files), policy="now")
    except OSError as error:
        logger.info("pictures that W&B may lack are not sent again: %s", error)


def _time_in(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0

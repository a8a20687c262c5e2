"""The best and the newest checkpoint of a run as versions of one W&B artifact."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import wandb
import xxhash
from attrs import frozen
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
from wandb.sdk.lib.paths import LogicalPath

from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.layout import MANIFEST_NAME, folder_name
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.retention import SavedCheckpoint, best_of
from trainers.checkpoints.verification import inspect
from trainers.errors import CheckpointError, UnavailableError
from trainers.metrics.row_feed import UPLOAD_PATIENCE_S
from trainers.metrics.wandb_server import sentence_of
from trainers.run.run_folder import RunFolder
from trainers.run.sections import Section, beat

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig

logger = logging.getLogger(__name__)

TYPE = "checkpoint"
LOOK_INTERVAL_S = 15.0
SEND_INTERVAL_S = 300.0
"""Between two versions, unless the one that W&B calls the latest is gone from disk. Each takes some
requests, and W&B keeps all of them."""
LAST_S = 4.0
"""What an attempt that ends waits for its last version; with W&B's `finish_timeout`, less than the
15 s that it waits for W&B."""
_ANSWER_S = 120
_UPLOAD_S = 3600
_MAX_NAME = 100
_BEST, _LATEST = "best", "latest"


@frozen(kw_only=True)
class _Saved:
    """A checkpoint on disk."""

    iteration: int
    path: Path
    checksum: str
    """Of its manifest, which has those of all other bytes."""
    manifest: Manifest


class WandbCheckpoints:
    """Tells W&B which checkpoint is the best and which is the newest, as they lie on disk.

    After a rollback, that is what is left. Everything runs on W&B's threads. What has not arrived
    when an attempt ends is sent by the next one.
    """

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        self._folder = folder
        self._config = config
        self._keep_best = config.checkpoint.keep_best
        self._record = folder.wandb / "checkpoints-sent.json"
        self._known: dict[tuple[int, int], _Saved | None] = {}
        self._sent: dict[str, str] = {}
        """By alias, the checksum of the checkpoint that has it at W&B."""
        self._sending: threading.Thread | None = None
        self._next_look_s = self._next_send_s = 0.0
        self._failure = ""

    def begin(self, run: wandb.Run) -> None:
        """Look at once: a W&B run has been opened, perhaps after a rollback."""
        self._sent = self._read_sent(run)
        self._next_look_s = self._next_send_s = 0.0
        self._sending = None
        self.poll(run)

    def poll(self, run: wandb.Run) -> None:
        """Send what has changed; call it about once a second. Waits for nothing."""
        now = time.monotonic()
        if run.offline or self._is_sending() or now < self._next_look_s:
            return
        self._next_look_s = now + LOOK_INTERVAL_S
        self._look(run, is_last=False)

    def end(self, run: wandb.Run, *, finished: bool, preempted: bool) -> None:
        """Send what has changed, and wait for it a little; not for an attempt that is stopped."""
        if not run.offline and not preempted:
            deadline = time.monotonic() + LAST_S
            if finished and self._config.wandb.upload:
                deadline += UPLOAD_PATIENCE_S
            self._wait_until(deadline)
            if not self._is_sending():
                self._look(run, is_last=True)
                self._wait_until(deadline)
            if self._is_sending():
                logger.warning("W&B does not have the newest checkpoint: sending takes too long")
        self._sending = None

    def _wait_until(self, deadline: float) -> None:
        while self._sending and self._is_sending() and time.monotonic() < deadline:
            self._sending.join(1.0)
            for kind in (Section.WANDB, Section.CLOSE):
                beat(kind)

    def _is_sending(self) -> bool:
        return self._sending is not None and self._sending.is_alive()

    def _look(self, run: wandb.Run, *, is_last: bool) -> None:
        try:
            wanted = self._wanted()
        except (CheckpointError, UnavailableError, OSError) as error:
            logger.debug("no checkpoints for W&B at present: %s", error)
            return
        changed = [alias for alias in wanted if self._sent.get(alias) != wanted[alias].checksum]
        if not changed:
            return
        on_disk = {each.checksum for each in self._known.values() if each}
        is_due = is_last or time.monotonic() >= self._next_send_s
        if not is_due and all(self._sent.get(alias) in on_disk for alias in changed):
            return
        self._next_send_s = time.monotonic() + SEND_INTERVAL_S
        self._sending = threading.Thread(
            target=self._send, args=(run, wanted, changed), name="W&B checkpoints", daemon=True
        )
        self._sending.start()

    def _wanted(self) -> dict[str, _Saved]:
        """Return the checkpoint that each alias is to have."""
        saved = self._on_disk()
        if not saved:
            return {}
        metric = self._keep_best.metric if self._keep_best else ""
        best = best_of(
            [
                SavedCheckpoint(
                    iteration=each.iteration,
                    is_validated=True,
                    metric=each.manifest.metrics.get(metric),
                )
                for each in saved
            ],
            self._keep_best,
        )
        wanted = {_LATEST: saved[-1]}
        if best is not None:
            wanted[_BEST] = next(each for each in saved if each.iteration == best)
        return wanted

    def _on_disk(self) -> list[_Saved]:
        """Return the whole checkpoints with finite weights, oldest first."""
        known: dict[tuple[int, int], _Saved | None] = {}
        for iteration in CheckpointReader(self._folder.checkpoints, fingerprint=None).iterations():
            path = self._folder.checkpoints / folder_name(iteration)
            with suppress(FileNotFoundError):  # retention
                key = (iteration, (path / MANIFEST_NAME).stat().st_mtime_ns)
                known[key] = self._known[key] if key in self._known else _saved(path)
        self._known = known
        return [each for each in known.values() if each]

    def _send(self, run: wandb.Run, wanted: dict[str, _Saved], changed: Sequence[str]) -> None:
        try:
            for saved, aliases in _in_order(wanted, changed):
                self._log(run, saved, aliases)
                self._sent |= {each: saved.checksum for each in aliases}
                content = {"project": _project_of(run), "sent": self._sent}
                self._record.write_text(json.dumps(content))
            self._failure = ""
        except FileNotFoundError:  # retention deleted it: there is a newer one by now
            self._next_send_s = 0.0
        except Exception as error:  # no failure of W&B may end the training
            if self._sending is not threading.current_thread():
                return  # the attempt has ended, or the W&B run was opened anew
            sentence = sentence_of(error)
            if sentence != self._failure:
                logger.warning("W&B does not have the newest checkpoint: %s", sentence)
            self._failure = sentence

    def _read_sent(self, run: wandb.Run) -> dict[str, str]:
        try:
            content = json.loads(self._record.read_bytes())
            return dict(content["sent"]) if content["project"] == _project_of(run) else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def _log(self, run: wandb.Run, saved: _Saved, aliases: Sequence[str]) -> None:
        artifact = wandb.Artifact(
            artifact_name(self._config.name, run.id),
            type=TYPE,
            metadata={
                "iteration": saved.iteration,
                "path": str(saved.path),
                "manifest_xxh3_128": saved.checksum,
                "fingerprint": saved.manifest.identity,
                "metrics": saved.manifest.metrics,
            },
        )
        if not self._is_uploaded(aliases):
            # Not `add_reference`, which would read the whole checkpoint for checksums of its own.
            artifact.manifest.add_entry(
                ArtifactManifestEntry(
                    path=LogicalPath(saved.path.name),
                    ref=saved.path.as_uri(),
                    digest=saved.checksum,
                    size=sum(each.num_bytes for each in saved.manifest.files),
                )
            )
            run.log_artifact(artifact, aliases=list(aliases)).wait(_ANSWER_S)
            return
        names = [MANIFEST_NAME, *(each.name for each in saved.manifest.files)]
        with _linked(saved.path, names, self._folder.wandb) as links:
            for name in names:
                artifact.add_file(str(links / name), name, policy="immutable", skip_cache=True)
            logger.info("W&B is sent the checkpoint of iteration %d", saved.iteration)
            run.log_artifact(artifact, aliases=list(aliases)).wait(_UPLOAD_S)
        logger.info("W&B has the checkpoint of iteration %d", saved.iteration)

    def _is_uploaded(self, aliases: Sequence[str]) -> bool:
        upload = self._config.wandb.upload
        wanted = {None: (), "best": (_BEST,), "last": (_LATEST,), "all": (_BEST, _LATEST)}[upload]
        return any(each in wanted for each in aliases)


def artifact_name(run_name: str, run_id: str) -> str:
    """Return the name of a run's artifact, which W&B allows fewer characters than a folder."""
    return f"{re.sub('[^A-Za-z0-9._-]', '-', run_name)[:_MAX_NAME]}-{run_id}"


def _in_order(
    wanted: dict[str, _Saved], changed: Sequence[str]
) -> list[tuple[_Saved, tuple[str, ...]]]:
    """Return what to log with which aliases.

    The newest comes last, and always: W&B's client gives the alias `latest` to all that it logs.
    """
    latest, best = wanted[_LATEST], wanted.get(_BEST)
    if best is not None and best.checksum == latest.checksum:
        return [(latest, (_BEST, _LATEST))]
    first = [(best, (_BEST,))] if best is not None and _BEST in changed else []
    return [*first, (latest, (_LATEST,))]


def _saved(path: Path) -> _Saved | None:
    """Return a whole checkpoint with finite weights; None if it is no such."""
    try:
        manifest = inspect(path)
    except UnavailableError:
        raise
    except CheckpointError:
        return None
    if not manifest.is_finite:
        return None
    checksum = xxhash.xxh3_128_hexdigest((path / MANIFEST_NAME).read_bytes())
    return _Saved(
        iteration=manifest.iteration,
        path=path.absolute(),
        checksum=checksum,
        # The tree structure of a state is long, and there may be many checkpoints.
        manifest=attrs.evolve(manifest, state=None),
    )


@contextmanager
def _linked(path: Path, names: Sequence[str], beside: Path) -> Iterator[Path]:
    """Yield a folder with hard links to the files of a checkpoint, which retention cannot delete.

    Raises:
        OSError: The file system has no hard links, or the files are gone.
    """
    with tempfile.TemporaryDirectory(dir=beside, prefix="upload-") as folder:
        for name in names:
            os.link(path / name, Path(folder, name))
        yield Path(folder)


def _project_of(run: wandb.Run) -> str:
    return f"{run.entity}/{run.project}"

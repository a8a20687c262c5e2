"""What reports say of a run besides its metrics: origin, data, attempts, from its folder alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from trainers.config.config_io import read_run_config
from trainers.errors import TrainerError
from trainers.run.attempt_history import Attempt, attempt_history, read_events
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, read_state
from trainers.run.submission_record import read_submission

MAX_VOLUMES = 100
"""Fingerprints that a report names one by one."""
TABLE_COLUMNS = (
    "attempt",
    "cause",
    "reason",
    "node",
    "GPU",
    "job",
    "began (UTC)",
    "hours",
    "from iteration",
    "to iteration",
    "lost iterations",
)

_MAX_REASON = 300


@frozen(kw_only=True)
class RunDetails:
    """What is known of a run at a moment; later ones know more."""

    attempts: tuple[Attempt, ...] = ()
    """Oldest first, with the one that is running."""
    volumes: Mapping[str, str] = attrs.field(factory=dict)
    """The fingerprint of each volume, by `dataset/role`; empty for those on servers."""
    submission: Mapping[str, Any] = attrs.field(factory=dict)
    init_from: Mapping[str, Any] = attrs.field(factory=dict)
    """Where the initial weights are from; empty without `init_from`."""

    @classmethod
    def read(cls, folder: RunFolder) -> RunDetails:
        """Read what is in the folder; what cannot be read is left out."""
        events: list[dict[str, Any]] = []
        submission = None
        with suppress(OSError):
            events = list(read_events(folder.events))
        with suppress(OSError):
            submission = read_submission(folder)
        volumes: dict[str, str] = {}
        for event in events:
            if event["event"] == EventKind.ENVIRONMENT:
                volumes |= event.get("volumes", {})
        return cls(
            attempts=tuple(attempt_history(events)),
            volumes=volumes,
            submission=attrs.asdict(submission) if submission else {},
            init_from=_lineage(folder),
        )

    @property
    def knows_environment(self) -> bool:
        """Whether the newest attempt has said where it runs, and what it reads."""
        return bool(self.attempts and self.attempts[-1].gpu_model is not None)

    @property
    def config(self) -> dict[str, Any]:
        """The details as a section of a config, nested as there; the newest attempt's node."""
        newest = self.attempts[-1] if self.attempts else None
        sections: dict[str, Any] = {
            **self.submission,
            "node": newest.node if newest else None,
            "gpu": newest.gpu_model if newest else None,
            "job": newest.job if newest else None,
            "data": self._data(),
            "init_from": self.init_from,
        }
        return {key: value for key, value in sections.items() if value}

    @property
    def causes(self) -> dict[str, int]:
        """The number of ended attempts by cause."""
        return dict(Counter(each.cause for each in self.attempts if each.cause))

    def table(self, *, now: float) -> list[list[Any]]:
        """Return a row per attempt, with the columns TABLE_COLUMNS; the newest one is running.

        Args:
            now: Unix time in seconds.
        """
        newest = self.attempts[-1] if self.attempts else None
        return [
            [
                each.number,
                each.cause or ("running" if each is newest else "unknown"),
                each.reason[:_MAX_REASON],
                each.node or "",
                each.gpu_model or "",
                each.job or "",
                _utc(each.began),
                _hours(each, now if each is newest else None),
                each.first_iteration,
                each.iteration,
                each.lost,
            ]
            for each in self.attempts
        ]

    def starts(self) -> list[tuple[int, int]]:
        """Return iteration and number of each attempt that has begun, in order of attempts."""
        return [
            (each.first_iteration, each.number)
            for each in self.attempts
            if each.first_iteration is not None
        ]

    def _data(self) -> dict[str, Any]:
        """Return the fingerprint of all volumes together, and of each one unless there are many."""
        if not self.volumes:
            return {}
        # Behind the digest stands which chunk was looked at.
        digests = {name: each.partition(" ")[0] for name, each in sorted(self.volumes.items())}
        together = hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]
        found: dict[str, Any] = {"fingerprint": together}
        if len(digests) <= MAX_VOLUMES:
            found["volumes"] = {name: each or "on a server" for name, each in digests.items()}
        return found


def segment_of(starts: Sequence[tuple[int, int]], iteration: int) -> int | None:
    """Return the attempt that wrote the row of an iteration: the last that began before it."""
    return next((number for start, number in reversed(starts) if start <= iteration), None)


def _lineage(folder: RunFolder) -> dict[str, Any]:
    try:
        taken = dict(json.loads(folder.initial_weights.read_bytes()))
        checkpoints = Path(taken["checkpoints"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    lineage = {
        "checkpoints": str(checkpoints),
        "iteration": taken.get("iteration"),
        "fingerprint": taken.get("fingerprint"),
    }
    if taken.get("artifact"):
        lineage["artifact"] = taken["artifact"]
    source = RunFolder(checkpoints.parent)
    with suppress(OSError, TrainerError):
        if source.config.exists():
            wandb = read_run_config(source.config).wandb
            lineage["run"] = source.name
            if wandb.mode != "disabled" and (run_id := read_state(source, timeout_s=0).wandb_id):
                lineage["wandb_run"] = "/".join(filter(None, (wandb.entity, wandb.project, run_id)))
    return lineage


def _utc(time: float | None) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") if time else ""


def _hours(attempt: Attempt, now: float | None) -> float | None:
    ended = attempt.ended or now
    if attempt.began is None or ended is None:
        return None
    return round((ended - attempt.began) / 3600, 3)

"""What people are told: the texts of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.notify.notices import DONE, Due, Notice
from trainers.run.run_state import Status

_MAX_NAMES = 10
_MAX_REASON = 1200
_HAPPENED = {
    "finished": ("finished", "finished"),
    "failed": ("failed", "failed"),
    "given_up": ("was given up", "were given up"),
    "hang": ("hung, and is tried again", "hung, and are tried again"),
    "non_finite": (
        "met a number that is not finite, and is tried again",
        "met numbers that are not finite, and are tried again",
    ),
}
"""By event: for one run, for several."""
_LEVELS = {"finished": "success", "failed": "failure", "given_up": "failure"}


@frozen(kw_only=True)
class Message:
    """What one channel is sent; all fields of the JSON form."""

    event: str
    """One of `NotifyConfig.events`, or `test`."""
    experiment: str
    folder: str
    cause: str = ""
    runs: tuple[str, ...] = ()
    """The names of all runs that it tells of."""
    counts: Mapping[str, int] = {}
    """How many runs have which status; of `done` alone."""
    title: str
    text: str
    level: str = "warning"
    """`info`, `success`, `warning` or `failure`."""

    @property
    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


def message_of(
    folder: ExperimentFolder, due: Due, ended: Mapping[str, Notice], statuses: Mapping[str, str]
) -> Message:
    """Return the message for what is due.

    Args:
        ended: How runs have ended, by name; for `done`.
        statuses: Of all runs, by name; for `done`.
    """
    if due.event == DONE:
        return _done(folder, ended, statuses)
    names = [notice.run for notice in due.notices]
    one, several = _HAPPENED[due.event]
    is_over = due.notices[0].status in (Status.FINISHED, Status.FAILED)
    if due.event not in ("finished", "failed", "given_up") and is_over:
        one = several = "failed"
    what = f"run {names[0]} {one}" if len(names) == 1 else f"{len(names)} runs {several}"
    why = f" ({due.cause})" if due.cause and due.event not in ("finished", due.cause) else ""
    lines = [_listed(names)] if len(names) > 1 else []
    if reason := _shortened(due.notices[0].reason):
        lines.append(reason if len(names) == 1 else f"{names[0]}: {reason}")
    if due.event != "finished":
        lines.append(f"launch explain {folder.run(names[0]).path}")
    return Message(
        event=due.event,
        cause=due.cause,
        experiment=folder.name,
        folder=str(folder.path),
        runs=tuple(names),
        title=f"{folder.name}: {what}{why}",
        text="\n".join(lines) or str(folder.path),
        level=_LEVELS.get(due.event, "warning"),
    )


def trial_message(name: str, folder: ExperimentFolder) -> Message:
    """Return a message that says it is a test."""
    return Message(
        event="test",
        experiment=name,
        folder=str(folder.path),
        title=f"{name}: a test message",
        text="Messages about this experiment will arrive like this one.",
        level="info",
    )


def _done(
    folder: ExperimentFolder, ended: Mapping[str, Notice], statuses: Mapping[str, str]
) -> Message:
    counts = Counter(statuses.values())
    parts = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    runs = "its run is" if len(statuses) == 1 else f"all {len(statuses)} runs are"
    by_cause: dict[str, list[Notice]] = {}
    for name in statuses:
        if statuses[name] == Status.FAILED and (notice := ended.get(name)):
            by_cause.setdefault(notice.cause or "before it began", []).append(notice)
    lines = []
    for cause, notices in sorted(by_cause.items()):
        lines.append(f"failed ({cause}): {_listed([each.run for each in notices])}")
        lines.append(f"    {_shortened(notices[0].reason, _MAX_REASON // 3)}")
    is_well = set(counts) == {Status.FINISHED}
    return Message(
        event=DONE,
        experiment=folder.name,
        folder=str(folder.path),
        runs=tuple(statuses),
        counts=counts,
        title=f"{folder.name}: {runs} over: {parts}",
        text="\n".join([*lines, f"launch status {folder.path}"]),
        level="success" if is_well else "warning",
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _shortened(text: str, most: int = _MAX_REASON) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""The notices of an experiment: what there was to tell, what was told, and what is to be told now.

They are the lines of `notices.jsonl`, from which everything else follows: any supervisor of the
experiment goes on where another one has stopped. Read, decide and append under its lock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import Factory, define, field, frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import tells_somebody
from trainers.run.atomic_write import append_line
from trainers.run.run_state import Status

GROUP_S = 60.0
"""How long a notice waits for others of the same cause, while a supervisor is there to tell it."""
AGAIN_S = 600.0
"""How long nothing more is told of one kind and cause; what happens meanwhile is counted."""
_CUT_SHORT_S = 60.0
"""A message that has come to nothing by then: its sender was killed."""
DONE = "done"


@frozen(kw_only=True)
class Notice:
    """What happened to a run."""

    run: str
    status: str
    event: str = ""
    """One of `NotifyConfig.events`; empty if nobody is to be told."""
    cause: str = ""
    """Why the last attempt ended; empty if it ended before it began."""
    reason: str = ""
    time: float = field(factory=lambda: round(time.time(), 3))

    @property
    def key(self) -> tuple[str, str, str]:
        """Told once for each, until the run is submitted again."""
        return (self.run, self.event, self.cause)

    @property
    def is_end(self) -> bool:
        """Whether the run is over."""
        return self.status in map(str, Status) and Status(self.status).is_over

    @property
    def group(self) -> tuple[str, str]:
        """Notices that are told together."""
        return (self.event, self.cause)


@frozen(kw_only=True)
class Due:
    """What is to be told in one message: notices of one kind and cause, or that all is done."""

    event: str
    cause: str
    notices: tuple[Notice, ...]
    """For `done`: those that were never told otherwise."""


@define
class Notices:
    """What the lines come to."""

    waiting: dict[tuple[str, str, str], Notice] = Factory(dict)
    """Not told yet."""
    known: set[tuple[str, str, str]] = Factory(set)
    ended: dict[str, Notice] = Factory(dict)
    """By run: how it ended, since it was last submitted."""
    last_told: dict[tuple[str, str], float] = Factory(dict)
    """By kind and cause: when the last message was sent."""
    is_done_told: bool = False
    messages: dict[int, dict[str, Any]] = Factory(dict)
    failures: dict[int, dict[str, str]] = Factory(dict)
    """By message and channel: why nobody was told; empty if somebody was."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Take in one line; the order is that of the file."""
        if "submitted" in line:
            self._forget(set(line["submitted"]))
        elif "channel" in line:
            self.failures.setdefault(line["message"], {})[line["channel"]] = line["error"]
        elif "message" in line:
            self.messages[line["message"]] = dict(line)
            self.last_told[line["event"], line["cause"]] = line["time"]
            self.is_done_told |= line["event"] == DONE
            for key in line["told"]:
                self.waiting.pop(tuple(key), None)
        elif "run" in line:
            known = {each.name for each in attrs.fields(Notice)}
            self._note(Notice(**{key: line[key] for key in line if key in known}))

    def is_new(self, notice: Notice) -> bool:
        """Return whether it says anything that the lines do not say yet."""
        is_untold = bool(notice.event) and notice.key not in self.known
        return is_untold or (notice.is_end and notice.run not in self.ended)

    def due(
        self, events: Sequence[str], *, now: float, is_last: bool, is_done: bool
    ) -> tuple[list[Due], float | None]:
        """Return what is to be told now, and in how many seconds to ask again; None: no need to.

        Args:
            events: Those that are to be told.
            is_last: Nobody may be here to tell it later.
            is_done: All runs of the experiment are over.
        """
        found, again_s = [], []
        groups: dict[tuple[str, str], list[Notice]] = {}
        for notice in self.waiting.values():
            if notice.event in events:
                groups.setdefault(notice.group, []).append(notice)
        for group, notices in groups.items():
            grouped_in_s = min(each.time for each in notices) + GROUP_S - now
            quiet_in_s = self.last_told.get(group, now - AGAIN_S) + AGAIN_S - now
            if quiet_in_s <= 0 and (grouped_in_s <= 0 or is_last or is_done):
                found.append(Due(event=group[0], cause=group[1], notices=tuple(notices)))
            else:
                again_s.append(max(1.0, quiet_in_s, grouped_in_s))
        if is_done and DONE in events and not self.is_done_told:
            told = {notice.key for each in found for notice in each.notices}
            untold = [each for each in self.waiting.values() if each.key not in told]
            found.append(Due(event=DONE, cause="", notices=tuple(untold)))
            again_s = []
        return found, min(again_s, default=None)

    def untold(self, run: str, now: float) -> list[str]:
        """Return the last failure of each channel to tell of a run, a sentence each."""
        by_channel: dict[str, str] = {}
        for number, message in self.messages.items():
            if message["event"] != DONE and run not in message["runs"]:
                continue
            outcomes = self.failures.get(number, {})
            if not outcomes and now > message["time"] + _CUT_SHORT_S:
                outcomes = {"all channels": "what sent it was ended before it had an answer"}
            for channel, error in outcomes.items():
                by_channel.pop(channel, None)
                if error:
                    by_channel[channel] = f"{message['title']}: {channel}: {error}"
        return list(by_channel.values())

    def _note(self, notice: Notice) -> None:
        if notice.event and notice.key not in self.known:
            self.known.add(notice.key)
            self.waiting[notice.key] = notice
        if notice.is_end:
            self.ended[notice.run] = notice

    def _forget(self, runs: set[str]) -> None:
        self.known = {key for key in self.known if key[0] not in runs}
        self.waiting = {key: each for key, each in self.waiting.items() if key[0] not in runs}
        self.ended = {run: notice for run, notice in self.ended.items() if run not in runs}
        self.is_done_told = False
        self.last_told.clear()


def read_notices(folder: ExperimentFolder) -> Notices:
    """Return what the lines come to; half a line, of a process that was killed, is left out.

    Raises:
        OSError: They cannot be read.
    """
    notices = Notices()
    try:
        lines = folder.notices.read_bytes().splitlines()
    except FileNotFoundError:
        return notices
    for line in lines:
        try:
            notices.add(json.loads(line))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return notices


def append_notices(folder: ExperimentFolder, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines, all in one write.

    Raises:
        OSError: Not all of them are written.
    """
    if content := b"".join(json.dumps(line).encode() + b"\n" for line in lines):
        append_line(folder.notices, content)


def note_submitted(folder: ExperimentFolder, runs: Sequence[str]) -> None:
    """Note that runs were submitted: what becomes of them from now on is told again."""
    if folder.notices.exists() or tells_somebody(folder):
        append_notices(folder, [{"time": round(time.time(), 3), "submitted": list(runs)}])

"""What has become of runs, from their folders alone."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.notify.notices import Notice
from trainers.errors import ConfigError, UnavailableError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, EventKind, RunState, Status, read_state

logger = logging.getLogger(__name__)

GIVEN_UP = "given up: "
"""How the reason of a run begins whose retries are used up."""
NOT_REQUEUED = "its job could not be requeued: "
"""How the reason of a run begins that waits, though nothing will start it."""
_TAIL_BYTES = 65536
_TOLD_AS = {Cause.HANG: "hang", Cause.NON_FINITE: "non_finite"}
"""Causes that are told even if the run goes on."""


def notice_of(run: RunFolder, events: Collection[str]) -> Notice:
    """Return what has become of a run; without an event if nobody is to be told.

    Args:
        events: Those that are to be told.

    Raises:
        OSError, ConfigError: As from `read_state`.
    """
    state = read_state(run)
    ended = _last_end(run)
    cause = str(ended.get("cause") or "")
    event = next((each for each in _events(state, cause) if each in events), "")
    return Notice(
        run=run.name, status=str(state.status), event=event, cause=cause, reason=state.reason
    )


def notices_of(
    folder: ExperimentFolder, runs: Iterable[str], events: Collection[str]
) -> list[Notice]:
    """Return what has become of runs; one that was removed, or is damaged, is left out.

    Raises:
        OSError, UnavailableError: One of them cannot be read at present.
    """
    found = []
    present = {each.name for each in folder.runs.iterdir()}
    for name in [each for each in runs if each in present]:
        try:
            found.append(notice_of(folder.run(name), events))
        except UnavailableError:
            raise
        except ConfigError as error:
            logger.warning("%s", error)
    return found


def statuses_if_done(
    folder: ExperimentFolder, known: Collection[str], *, timeout_s: float
) -> dict[str, str] | None:
    """Return the status of each run of an experiment if all are over; None if one is not.

    Args:
        known: Runs that are known to be over, which may be many: their states are read last, for
            the counts alone.
        timeout_s: For a state that cannot be read. One that is damaged is over: nothing starts it.

    Raises:
        OSError, UnavailableError: Something cannot be read at present.
    """
    names = [each.name for each in folder.runs.iterdir() if not each.name.startswith(".")]
    statuses: dict[str, str] = {}
    for name in sorted(names, key=lambda each: (each in known, each)):
        run = folder.run(name)
        try:
            state = read_state(run, timeout_s=timeout_s)
        except UnavailableError:
            raise
        except ConfigError:
            statuses[name] = str(Status.UNREADABLE)
            continue
        if not (state.status.is_over and (name in known or _is_counted(run, state))):
            return None
        statuses[name] = str(state.status)
    return dict(sorted(statuses.items()))


def _events(state: RunState, cause: str) -> Iterator[str]:
    """Yield what an end can be told as, the weightiest first."""
    if state.status == Status.FINISHED:
        yield "finished"
    elif state.status == Status.FAILED:
        yield "given_up" if state.reason.startswith(GIVEN_UP) else "failed"
    elif state.status == Status.WAITING and state.reason.startswith(NOT_REQUEUED):
        yield "given_up"
    if cause in _TOLD_AS and state.status not in (Status.FINISHED, Status.CANCELLED):
        yield _TOLD_AS[Cause(cause)]


def _is_counted(run: RunFolder, state: RunState) -> bool:
    """Return whether a supervisor has counted the last attempt: a trainer records its end first."""
    return not run.log(state.num_attempts).exists()


def _last_end(run: RunFolder) -> dict[str, Any]:
    """Return the event of the last attempt that was counted since the submission; {} if none."""
    try:
        with run.events.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
            kind = event["event"]
        except (KeyError, TypeError, ValueError):
            continue
        if kind == EventKind.ENDED:
            return dict(event)
        if kind == EventKind.SUBMITTED:
            break
    return {}

"""`python -m launcher.notify.deliver [--last] EXPERIMENT_FOLDER RUN…`: tell what became of runs.

A supervisor starts this beside itself: a disk, a name server or a webhook that hangs holds up this
process alone, which ends itself within a minute. It prints in how many seconds it wants to be asked
again, as JSON, and whom it could not tell, to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from launcher import file_lock
from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import NotifyConfig, read_notify
from launcher.notify.channels import channels_of, kill_children, send_all
from launcher.notify.messages import Message, message_of
from launcher.notify.notices import Notice, append_notices, read_notices
from launcher.notify.run_ends import notices_of, statuses_if_done
from launcher.os_errors import problem_of
from trainers.errors import TrainerError

LATER = 75
"""Exit code: nothing could be read or written now."""
_LOCK_TIMEOUT_S = 5.0
_STATE_TIMEOUT_S = 0.5
_LIFETIME_S = 60


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--last", action="store_true")
    parser.add_argument("runs", nargs="*")
    arguments = parser.parse_args(argv)
    folder = ExperimentFolder(arguments.folder)
    try:
        again_s = deliver(folder, arguments.runs, is_last=arguments.last)
    except (OSError, LockHeldError, TrainerError) as error:
        problem = problem_of(error)
        print(f"what became of its runs is told later: {problem}", file=sys.stderr)  # noqa: T201
        return LATER
    print(json.dumps({"again_s": again_s}), flush=True)  # noqa: T201
    return 0


def deliver(folder: ExperimentFolder, runs: Collection[str], *, is_last: bool) -> float | None:
    """Tell what became of the runs, if it is to be told now; return when to ask again, in seconds.

    Args:
        is_last: The supervisor that asks is about to end.

    Raises:
        OSError, LockHeldError, TrainerError: Nothing was told.
    """
    config = read_notify(folder)
    if config is None or not config.is_told_by_us:
        return None
    found = notices_of(folder, runs, config.events)
    with file_lock.hold(folder.notices_lock, timeout_s=_LOCK_TIMEOUT_S):
        messages, again_s = _choose(folder, config, found, is_last=is_last)
    numbers = {id(message): number for number, message in messages}
    for outcome in send_all([each for _, each in messages], channels_of(config, folder)):
        number = numbers[id(outcome.message)]
        line = {"message": number, "channel": outcome.channel, "error": outcome.error}
        append_notices(folder, [{"time": _now(), **line}])
        if outcome.error:
            said = f"{outcome.message.title!r} was not told: {outcome.channel}: {outcome.error}"
            print(said, file=sys.stderr, flush=True)  # noqa: T201
    return again_s


def _choose(
    folder: ExperimentFolder, config: NotifyConfig, found: Collection[Notice], *, is_last: bool
) -> tuple[list[tuple[int, Message]], float | None]:
    """Write down what happened and what is told now, with a number; the caller holds the lock.

    It is written before it is sent: nothing is told twice, whoever is killed meanwhile.
    """
    notices = read_notices(folder)
    lines: list[dict[str, Any]] = []

    def note(notice: Notice) -> None:
        if notices.is_new(notice):
            lines.append(attrs.asdict(notice))
            notices.add(lines[-1])

    for notice in found:
        note(notice)
    statuses = None
    if not notices.is_done_told:
        statuses = statuses_if_done(folder, notices.ended, timeout_s=_STATE_TIMEOUT_S)
    # Another supervisor is about to tell of these.
    others = [name for name in statuses or {} if name not in notices.ended]
    for notice in notices_of(folder, others, config.events):
        note(notice)
    is_done = statuses is not None and any(each != "cancelled" for each in statuses.values())
    due, again_s = notices.due(config.events, now=_now(), is_last=is_last, is_done=is_done)
    messages = []
    for number, each in enumerate(due, start=max(notices.messages, default=0) + 1):
        message = message_of(folder, each, notices.ended, statuses or {})
        messages.append((number, message))
        lines.append(
            {
                "time": _now(),
                "message": number,
                "event": each.event,
                "cause": each.cause,
                "title": message.title,
                "runs": list(message.runs) if each.event != "done" else [],
                "told": [notice.key for notice in each.notices],
            }
        )
    append_notices(folder, lines)
    return messages, again_s


def _now() -> float:
    return round(time.time(), 3)


def _end(*_: object) -> NoReturn:
    kill_children()
    os._exit(LATER)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(_LIFETIME_S)
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread may still wait for a server

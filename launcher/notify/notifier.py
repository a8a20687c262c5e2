"""How a supervisor has people told what became of its runs, without ever waiting for that."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import tells_somebody

logger = logging.getLogger(__name__)

TIMEOUT_S = 15.0
"""How long a job waits at its end for webhooks and commands that do not answer."""
_MIN_INTERVAL_S = 2.0
_RETRY_S = 10.0


class Notifier:
    """Passes on which runs to look at; all else is done by a process of its own, see `deliver`.

    Nothing is started for an experiment that tells nobody. Nothing here raises or blocks, apart
    from `close`, for as long as it is told to.
    """

    def __init__(self, folder: ExperimentFolder) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._runs: dict[str, None] = {}
        self._again_at_s: float | None = None
        self._not_before_s = 0.0
        self._is_closing = False
        self._has_given_up = False
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._said = ""

    def look_at(self, *runs: str) -> None:
        """Have it told what became of these runs; their folders must say it already."""
        with self._changed:
            self._runs.update(dict.fromkeys(runs))
            if self._runs and self._thread is None and not self._is_closing:
                self._start()
            self._changed.notify_all()

    def close(self, *runs: str) -> None:
        """Look at these runs, too, and wait until it is told, for `TIMEOUT_S` at most.

        A job that is requeued does not come here: it has no time, and its next start looks at all
        of its runs.
        """
        self.look_at(*runs)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            return
        thread.join(TIMEOUT_S)
        if thread.is_alive():
            self._has_given_up = True
            logger.warning("not everything could be told within %g s", TIMEOUT_S)
            if process := self._process:
                process.terminate()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="notices", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the limit of processes; the next call tries again
            self._say(f"what became of its runs is told later: {error}")
        else:
            self._thread = thread

    def _work(self) -> None:
        while not self._has_given_up:
            runs, is_closing = self._next()
            try:
                is_done = not tells_somebody(self._folder) or self._deliver(runs, is_closing)
            except OSError as error:  # a disk that is away, or no room for a process
                self._say(f"what became of its runs is told later: {error}")
                is_done = False
            except Exception as error:  # whatever is wrong with it, runs are not to suffer
                logger.warning("nobody is told what became of %s: %r", ", ".join(runs), error)
                is_done = True
            if is_closing and is_done:
                return
            if not is_done:
                self._put_back(runs)
            if is_closing:
                time.sleep(_MIN_INTERVAL_S)

    def _next(self) -> tuple[list[str], bool]:
        """Wait until there is something to do."""
        with self._changed:
            while not self._is_closing:
                now_s = time.monotonic()
                due_s = self._again_at_s
                if self._runs:
                    due_s = self._not_before_s
                if due_s is not None and now_s >= max(due_s, self._not_before_s):
                    break
                left_s = None if due_s is None else max(due_s, self._not_before_s) - now_s
                self._changed.wait(left_s)
            runs, self._runs = list(self._runs), {}
            self._again_at_s = None
            return runs, self._is_closing

    def _deliver(self, runs: list[str], is_last: bool) -> bool:
        """Return whether what became of the runs is written down."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "launcher.notify.deliver"),
                *(["--last"] if is_last else []),
                *(str(self._folder.path), *runs),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Otherwise the working directory is first on the path: see `local_job`.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            text=True,
            errors="replace",
        )
        self._process = process
        output, problems = process.communicate()
        self._process = None
        for line in problems.splitlines():
            self._say(line)
        answer: dict[str, float | None] = {}
        with suppress(ValueError):
            answer = json.loads(output or "{}")
        with self._changed:
            now_s = time.monotonic()
            self._not_before_s = now_s + _MIN_INTERVAL_S
            if not process.returncode and (again_s := answer.get("again_s")) is not None:
                self._again_at_s = now_s + again_s
        return not process.returncode

    def _put_back(self, runs: list[str]) -> None:
        with self._changed:
            self._runs = {**dict.fromkeys(runs), **self._runs}
            self._not_before_s = self._again_at_s = time.monotonic() + _RETRY_S

    def _say(self, problem: str) -> None:
        """Log a problem, once in a row: a disk may be away for hours."""
        if problem != self._said:
            logger.warning("%s", problem)
        self._said = problem

"""An experiment whose runs a test ends as it likes, and whose messages land in a file."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import NotifyConfig, write_notify
from launcher.job.attempt_end import AttemptEnd
from launcher.job.record_end import record_end
from launcher.notify.notices import note_submitted
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, EventKind, RunState, append_event, read_state, write_state

ALL = ("finished", "failed", "given_up", "hang", "non_finite", "done")


class TestedExperiment:
    """Its command appends each message to `told`, as a line of JSON."""

    __test__ = False

    def __init__(self, folder: Path, names, **fields) -> None:
        self.folder = ExperimentFolder(folder / "fib25")
        self.folder.path.mkdir()
        command = f"(cat; echo) >> {folder}/told"
        write_notify(self.folder, NotifyConfig(**{"command": command, "events": ALL, **fields}))
        self._told = folder / "told"
        self.submit(*names)

    def run(self, name):
        return self.folder.run(name)

    def submit(self, *names) -> None:
        for name in names:
            run = self.run(name)
            run.path.mkdir(parents=True, exist_ok=True)
            state = attrs.evolve(read_state(run).reset_retry_budget(), reason="")
            write_state(run, attrs.evolve(state, status="submitted", pack="pack-0000"))
            append_event(run, EventKind.SUBMITTED, pack="pack-0000")
        note_submitted(self.folder, names)

    def end(self, name, cause, reason="", retries=None) -> RunState:
        """End an attempt, as its supervisor counts it."""
        run = self.run(name)
        write_state(run, attrs.evolve(read_state(run), status="running", reason=""))
        return record_end(
            run, AttemptEnd(cause=Cause(cause), reason=reason), retries or RetriesConfig()
        )

    @property
    def messages(self):
        try:
            return [json.loads(line) for line in self._told.read_text().splitlines()]
        except FileNotFoundError:
            return []

    @property
    def titles(self):
        """Without the name of the experiment."""
        return [each["title"].removeprefix("fib25: ") for each in self.messages]

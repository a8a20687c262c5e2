"""Where a user of a test works: a folder with an experiment of dummy runs."""

import json
import os
import signal
import time

from launcher import cli
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.find_run import find_runs
from launcher.monitor.status import read_statuses
from launcher.monitor.watch import is_under_way, watch
from scripts.workloads.empty_volume import DATASET_AND_TASK, NETWORK_AND_TRAINER
from trainers.run.lease import is_live, read_lease
from trainers.run.run_state import read_state

EXPERIMENT = (
    "name: dummies\nnum_iterations: 5\n"
    + DATASET_AND_TASK
    + NETWORK_AND_TRAINER
    + """\
checkpoint: {every_iterations: 1000}
metrics: {every_iterations: 1000}
resources: {gpus: 1, cpus: 1}
"""
)


class Workplace:
    """A folder with an experiment of dummy runs, and a user who works there."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.experiment = ExperimentFolder(folder / "experiments" / "dummies")
        self.out = self.err = ""
        self._capsys = capsys

    def launch(self, *arguments):
        """The exit code of one command; what it said is in `out` and `err`."""
        code = cli.main(arguments)
        self.out, self.err = self._capsys.readouterr()
        return code

    submission = ("submit", "dummies.yaml", "--cluster=local", "--allow-invalid")

    def submit(self, *arguments):
        """The exit code of a submission."""
        return self.launch(*self.submission, *arguments)

    def run(self, name="dummies"):
        return self.experiment.run(name)

    def state(self, name="dummies"):
        return read_state(self.run(name))

    def status(self, name="dummies"):
        (status,) = read_statuses([self.run(name)])
        return status

    def supervisor_pid(self, pack="pack-0000"):
        return json.loads(self.experiment.pack(pack).lease.read_bytes())["pid"]

    def trainer_pid(self, name="dummies"):
        return read_lease(self.run(name).lease).pid

    def wait_for_iteration(self, name="dummies", iteration=1):
        """Until a run is in full swing."""
        while self.state(name).iteration < iteration:
            assert is_under_way(self.status(name)), self.status(name)
            time.sleep(0.05)

    def wait(self):
        """Until all runs have ended."""
        for _ in watch(find_runs(self.experiment.path), poll_s=0.1):
            pass

    def clean_up(self):
        """End what a failed test may have left running."""
        if not self.experiment.runs.is_dir():
            return
        self.launch("cancel", str(self.experiment.path))
        deadline = time.monotonic() + 10
        runs = find_runs(self.experiment.path)
        while any(map(is_under_way, read_statuses(runs))) and time.monotonic() < deadline:
            time.sleep(0.1)
        for run in runs:
            if is_live(run.lease):
                os.kill(read_lease(run.lease).pid, signal.SIGKILL)

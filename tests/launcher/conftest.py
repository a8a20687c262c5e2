import json
import os
import signal
import sys
import time

import pytest

from launcher import cli
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.status import find_runs, read_statuses
from launcher.monitor.watch import is_under_way, watch
from tests.launcher.fake_slurm import FakeSlurm
from trainers.run.lease import is_live, read_lease
from trainers.run.run_state import read_state

EXPERIMENT = """\
name: dummies
num_iterations: 5
datasets:
  - name: empty
    raw: {path: volume.zarr, array: raw}
    gt: {path: volume.zarr, array: labels}
task: {kind: affinities, neighborhood: [[1, 0, 0]]}
architecture:
  kind: custom
  import_path: torch.nn:Conv3d
  arguments: {out_channels: 1, kernel_size: 1}
  input_shape: [1, 1, 1]
trainer: {kind: dummy, batch_size: 1, learning_rate: 1e-2, mirror_augment: true}
checkpoint: {every_iterations: 1000}
metrics: {every_iterations: 1000}
resources: {gpus: 1, cpus: 1}
"""


def write_array(path, dtype):
    """A zarr array of 8³ zeros, none of them stored."""
    path.mkdir(parents=True)
    array = {
        "zarr_format": 2,
        "shape": [8, 8, 8],
        "chunks": [8, 8, 8],
        "dtype": dtype,
        "fill_value": 0,
        "order": "C",
        "compressor": None,
        "filters": None,
    }
    (path / ".zarray").write_text(json.dumps(array))
    attributes = {"voxel_size": [8, 8, 8], "units": ["nm"] * 3, "axis_names": ["z", "y", "x"]}
    (path / ".zattrs").write_text(json.dumps(attributes))


class Workplace:
    """A folder with an experiment of dummy runs, and a user who works there."""

    program = (sys.executable, "-c", "import sys; from launcher.cli import main; sys.exit(main())")
    """The command `launch` in a process of its own."""

    def __init__(self, folder, capsys):
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


@pytest.fixture
def workplace(tmp_path, monkeypatch, capsys):
    """Its slots are its own: two, whatever the machine has, and however busy that is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAUNCH_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "dummies.yaml").write_text(EXPERIMENT)
    write_array(tmp_path / "volume.zarr" / "raw", "|u1")
    write_array(tmp_path / "volume.zarr" / "labels", "<u8")
    (tmp_path / "cluster_configs").mkdir()
    config = "kind: local\ndescription: two slots\ngpus: 0\ncpus: 2\n"
    (tmp_path / "cluster_configs" / "local.yaml").write_text(config)
    workplace = Workplace(tmp_path, capsys)
    yield workplace
    workplace.clean_up()


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    """Programs with the names of Slurm's that print what a test says."""
    return FakeSlurm(tmp_path_factory.mktemp("slurm"), monkeypatch)

"""`python -m trainers RUN_FOLDER` as a user or a supervisor starts it."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from launcher.experiment.experiment import read_experiment
from scripts.workloads.checkout import EXAMPLE, ROOT
from scripts.workloads.logs import json_lines
from trainers.config.config_io import write_run_config
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

MODULES = Path(__file__).parent / "stream"
IN_PROCESS = "custom_augments:InProcessConfig"
"""Has samples made in processes of their own."""


class Attempt:
    """A trainer process with everything that it starts."""

    def __init__(self, folder: RunFolder, *arguments: str) -> None:
        self._folder = folder
        self._mark = f"LAUNCH_TEST_MARK={uuid.uuid4().hex}".encode()
        name, value = self._mark.decode().split("=")
        folder.logs.mkdir(exist_ok=True)
        with folder.log(0).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trainers", str(folder.path), *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, name: value},
            )

    def wait_for_iteration(self, iteration: int) -> None:
        while read_state(self._folder).iteration < iteration:
            assert self.process.poll() is None, self._folder.log(0).read_text()
            time.sleep(0.05)

    def wait_for_worker(self) -> None:
        """The first thing that the trainer starts, long before it can give it anything to do."""
        while not any("trainers.stream.worker_main" in command for command in self.living()):
            assert self.process.poll() is None, self._folder.log(0).read_text()

    def living(self) -> list[str]:
        """Command lines of the processes that carry this attempt's mark."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                if self._mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder for the bundled sample, small and quick."""

    def make(name="run", **changes) -> RunFolder:
        overrides = {
            "num_iterations": 400,
            "architecture.num_features": 2,
            "trainer.batch_size": 1,
            "trainer.num_data_fetchers": 2,
            "trainer.augments": [{"kind": "custom", "import_path": IN_PROCESS}],
            "python_path": [str(MODULES)],
            "trainer.snapshot_interval": None,
            "checkpoint.every_iterations": 5,
            "metrics.every_iterations": 1,
            "wandb.mode": "offline",
            "resources.cpus": 1,
            "sweep": None,
            **changes,
        }
        texts = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
        (config,) = read_experiment(EXAMPLE, texts).runs
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        write_run_config(folder.config, config)
        return folder

    return make


def newest_checkpoint(folder: RunFolder) -> int:
    return int(max(folder.checkpoints.glob("iteration-*")).name.removeprefix("iteration-"))


def contents(folder: RunFolder) -> dict[Path, bytes]:
    """All files of a run byte for byte, but logs, and what the next attempt will sweep away."""
    paths = (path for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".log")
    return {path: path.read_bytes() for path in paths if ".tmp-" not in str(path)}


def iterations(folder: RunFolder) -> list[int]:
    return [row["iteration"] for row in json_lines(folder.metrics)]


@pytest.mark.slow
def test_sigterm_commits_a_checkpoint_and_exits_75(make_run):
    """A preempted trainer loses no iteration, says so, and leaves nothing running."""
    folder = make_run()
    attempt = Attempt(folder)
    attempt.wait_for_iteration(3)

    attempt.process.send_signal(signal.SIGTERM)

    assert attempt.process.wait() == 75
    state = read_state(folder)
    assert (state.status, state.reason) == ("waiting", "stopped by SIGTERM")
    done = newest_checkpoint(folder)
    assert iterations(folder) == list(range(done))
    assert attempt.living() == []


@pytest.mark.slow
def test_a_disk_that_fails_at_the_end_changes_no_exit_code(make_run):
    """The launcher goes by it: a stopped run comes back though it could not tell of its stop."""
    folder = make_run()
    attempt = Attempt(folder)
    attempt.wait_for_iteration(3)
    folder.events.unlink()
    folder.events.mkdir()

    attempt.process.send_signal(signal.SIGTERM)

    assert attempt.process.wait() == 75
    assert f"cannot write {folder.events}: Is a directory; lost: " in folder.log(0).read_text()
    assert read_state(folder).status == "waiting"


@pytest.mark.slow
def test_sigkill_leaves_no_process_behind(make_run):
    """Workers and the W&B service die with the trainer, within 5 s."""
    folder = make_run()
    attempt = Attempt(folder)
    attempt.wait_for_iteration(3)
    assert len(attempt.living()) >= 4  # trainer, two workers, W&B

    attempt.process.kill()
    attempt.process.wait()

    deadline = time.monotonic() + 5
    while attempt.living() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert attempt.living() == []


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_while_torch_is_imported_leaves_no_worker_behind(make_run, signum):
    """Workers are there before the trainer can make use of them, and go with it all the same."""
    folder = make_run()
    attempt = Attempt(folder)
    attempt.wait_for_worker()

    attempt.process.send_signal(signum)

    assert attempt.process.wait() == (75 if signum == signal.SIGTERM else -signal.SIGKILL)
    deadline = time.monotonic() + 5
    while attempt.living() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert attempt.living() == []


@pytest.mark.slow
def test_an_attempt_tells_how_long_its_start_took(make_run):
    """Once, by parts that make up the whole, whether it begins anew or goes on."""
    folder = make_run(num_iterations=3)
    assert Attempt(folder).process.wait() == 0
    config_text = folder.config.read_text()
    folder.config.write_text(config_text.replace("num_iterations: 3", "num_iterations: 6"))
    again = Attempt(folder)
    assert again.process.wait() == 0
    assert again.living() == []
    finished = Attempt(folder)
    assert finished.process.wait() == 0
    assert finished.living() == []

    events = json_lines(folder.events)
    began = [event for event in events if event["event"] == "began"]
    assert [event["iteration"] for event in began] == [0, 3]
    for event in began:
        assert {"imports", "restoring", "first samples"} <= set(event["parts"])
        assert sum(event["parts"].values()) == pytest.approx(event["seconds"], abs=0.01)
    log = folder.log(0).read_text()
    assert log.count("iteration 1 started ") == log.count("iteration 4 started ") == 1
    assert log.count("checkpoint read and verified in ") == 1


@pytest.mark.slow
def test_a_run_is_carried_on_to_its_end(make_run):
    """Iterations come once each, and the trained network can be had back at any checkpoint."""
    import torch

    import trainers

    folder = make_run(num_iterations=6)

    assert Attempt(folder).process.wait() == 0
    config_text = folder.config.read_text()
    folder.config.write_text(config_text.replace("num_iterations: 6", "num_iterations: 12"))
    assert Attempt(folder).process.wait() == 0

    assert iterations(folder) == list(range(12))
    assert read_state(folder).status == "finished"
    model, earlier = trainers.load_model(folder.path), trainers.load_model(folder.path, 10)
    raw = torch.zeros(1, 1, *model.input_shape)
    with torch.no_grad():
        prediction = model(raw)
    assert prediction.shape == (1, 3, *model.output_shape)
    assert 0 <= prediction.min() <= prediction.max() <= 1
    assert any(
        not torch.equal(new, old)
        for new, old in zip(model.parameters(), earlier.parameters(), strict=True)
    )


@pytest.mark.slow
def test_a_held_run_is_left_alone(make_run):
    """A second trainer of the same run exits with 3 and changes nothing."""
    folder = make_run()
    with Lease.take(folder.lease, owner="somebody", attempt=0):
        attempt = Attempt(folder)
        assert attempt.process.wait() == 3
        assert attempt.living() == []

    assert f"is held by process {os.getpid()} on " in folder.log(0).read_text()
    assert not folder.state.exists()


@pytest.mark.slow
def test_a_trainer_that_was_passed_over_changes_nothing(make_run):
    """Stopped as if its node were lost, and woken up under a later attempt, it exits with 3."""
    folder = make_run(**{"trainer.snapshot_interval": 1})
    lost = Attempt(folder, "--owner=pack-0000", "--attempt=0")
    lost.wait_for_iteration(3)
    lost.process.send_signal(signal.SIGSTOP)
    later = Attempt(folder, "--owner=pack-0000", "--attempt=1")
    later.wait_for_iteration(read_state(folder).iteration + 6)
    later.process.send_signal(signal.SIGTERM)
    assert later.process.wait() == 75
    done = newest_checkpoint(folder)
    before = contents(folder)

    lost.process.send_signal(signal.SIGCONT)

    assert lost.process.wait() == 3
    assert contents(folder) == before
    assert iterations(folder) == list(range(done))
    text = folder.log(0).read_text()
    assert text.count("this process may no longer write to") == 1
    assert "Traceback" not in text
    deadline = time.monotonic() + 5
    while lost.living() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert lost.living() == []


@pytest.mark.slow
@pytest.mark.parametrize("error", ["MemoryError", "torch.cuda.OutOfMemoryError"])
def test_too_little_memory_has_an_exit_code_of_its_own(make_run, tmp_path, error):
    """Whether it is the machine's or the GPU's: the launcher may ask for more."""
    (tmp_path / "hungry.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, in_channels):\n"
        "        super().__init__()\n"
        "    def _apply(self, function, recurse=True):\n"
        f"        raise {error}('too little')\n"
        "    def forward(self, raw):\n"
        "        return raw.expand(-1, 3, -1, -1, -1)\n"
    )
    network = {"kind": "custom", "import_path": "hungry:Net", "input_shape": [8, 8, 8]}
    folder = make_run(**{"architecture": network, "python_path": [str(tmp_path)]})

    assert Attempt(folder).process.wait() == 4

    state = read_state(folder)
    assert (state.status, state.reason.split(": ")[1]) == ("failed", "too little")


@pytest.mark.slow
def test_numpy_multiplies_on_one_thread(make_run, tmp_path, monkeypatch):
    """Whatever the shell says: samples are the same for any number of cores."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    libraries = Path(np.__file__).parents[1] / "numpy.libs"
    (tmp_path / "counting.py").write_text(
        "import ctypes, pathlib, numpy, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, in_channels):\n"
        f"        (blas,) = pathlib.Path({str(libraries)!r}).glob('libscipy_openblas64_*')\n"
        "        number = ctypes.CDLL(blas).scipy_openblas_get_num_threads64_()\n"
        "        raise ValueError(f'{number} of its own')\n"
    )
    network = {"kind": "custom", "import_path": "counting:Net", "input_shape": [8, 8, 8]}
    folder = make_run(**{"architecture": network, "python_path": [str(tmp_path)]})

    Attempt(folder).process.wait()

    assert "1 of its own" in read_state(folder).reason


def test_a_folder_without_config_is_refused(tmp_path):
    """What is missing is named, without a traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "trainers", str(tmp_path)], capture_output=True, text=True
    )

    assert result.returncode == 2
    assert str(tmp_path / "config.yaml") in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_soak_of_a_few_cases():
    """Stopped anywhere, with other workers or ranks, a run ends as if it was never stopped."""
    script = ROOT / "scripts" / "stress" / "soak-resume"
    result = subprocess.run(
        [sys.executable, script, "--cases=2", "--rank-cases=1", "--seed=11", "--iterations=20"],
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 of 3 cases identical" in result.stdout


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_not_needed(make_run, monkeypatch):
    """What libraries would cache there, compiled kernels for one, lies in the run folder."""
    monkeypatch.setenv("HOME", "/proc/no")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    folder = make_run(num_iterations=2)

    assert Attempt(folder).process.wait() == 0

    assert list((folder.caches / "numba").iterdir())

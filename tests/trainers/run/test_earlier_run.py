"""What an earlier commit has left on disk stays readable.

`run_of_2026_11_29` is the folder of an experiment as commit 9d5b840 left it: its run was preempted
after iteration 8 of 12. `expected.json` is what the same commit made of the run without a stop. Its
network works on single voxels, so that the bits depend on little more than the instruction set.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from trainers.checkpoints.verification import verify
from trainers.config.config_io import read_run_config
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status, read_state
from trainers.training.determinism import current_environment

CARRIED = Path(__file__).with_name("run_of_2026_11_29")
AS_SUBMITTED = Path("/tmp/launch-trainers-run-2026-11-29")
"""Where its data lay. Paths of data are part of a run's fingerprint, so they are found there again:
by a link, which several test processes may make at once."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    link = tmp_path / "link"
    link.symlink_to(CARRIED)
    link.replace(AS_SUBMITTED)
    shutil.copytree(CARRIED / "runs" / "carried", tmp_path / "carried")
    return RunFolder(tmp_path / "carried")


def test_its_files_are_understood(run: RunFolder) -> None:
    """State, config and checkpoints of the earlier commit are read, and are of one run."""
    config, state = read_run_config(run.config), read_state(run)

    assert (state.status, state.saved_iteration) == (Status.WAITING, 8)
    assert state.identity == config.fingerprint
    for path in sorted(run.checkpoints.iterdir()):
        manifest = verify(
            path, fingerprint=config.fingerprint, fingerprint_fields=config.fingerprint_fields
        )
        assert path.name == f"iteration-{manifest.iteration:09}"


def test_its_status_is_told(run: RunFolder) -> None:
    """`launch status` shows it as it was left."""
    (status,) = launcher.status(run.path)

    assert (status.state, status.iteration) == (Status.WAITING, 8)
    assert status.reason.startswith("stopped by SIGTERM")


@pytest.mark.slow
def test_it_resumes_byte_for_byte(run: RunFolder) -> None:
    """The checkpoint at its end is the one that the earlier commit wrote without a stop."""
    expected = json.loads((CARRIED / "expected.json").read_text())
    subprocess.run(
        [sys.executable, "-m", "trainers", run.path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )

    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert read_state(run).status == Status.FINISHED
    assert [row["iteration"] for row in rows] == list(range(12))
    assert [row["loss"] for row in rows] == pytest.approx(expected["losses"], rel=1e-5)
    if is_machine_alike(expected["environment"]):
        data = run.checkpoints / "iteration-000000012" / "rank-00000.safetensors"
        assert [row["loss"] for row in rows] == expected["losses"]
        assert hashlib.sha256(data.read_bytes()).hexdigest() == expected["final_sha256"]


def is_machine_alike(environment: dict[str, str]) -> bool:
    """Whether this machine is to give the same bits; threads and ranks are the run's own."""
    now = current_environment(1)
    return all(now[key] == environment[key] for key in ("torch", "machine", "processor", "gpu"))

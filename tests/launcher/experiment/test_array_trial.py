"""Volumes are opened before anything is queued, in a process that has TensorStore."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from launcher import cli, exit_codes, submit
from launcher.experiment import array_trial
from launcher.experiment.array_trial import try_arrays
from launcher.experiment.experiment import read_experiment
from scripts.workloads.empty_volume import write_array
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig
from trainers.errors import ConfigError

EXPERIMENT = """\
name: cells
num_iterations: 1
datasets:
  - name: cells
    raw: {path: volume.zarr, array: raw}
    gt:
      path: volume.zarr
      array: labels
task: {kind: affinities, neighborhood: [[1, 0, 0]]}
architecture:
  {kind: custom, import_path: "torch.nn:Conv3d", input_shape: [2, 2, 2],
   arguments: {out_channels: 1, kernel_size: 1}}
trainer: {kind: gunpowder, batch_size: 1, learning_rate: 1e-2}
sweep: {seed: [1, 2]}
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Two arrays of one chunk each."""
    folder = tmp_path / "volume.zarr"
    for name, dtype, size in (("raw", "|u1", 1), ("labels", "<u8", 8)):
        write_array(folder / name, dtype)
        (folder / name / "0.0.0").write_bytes(bytes(size * 8**3))
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    return folder


def infos(volume: Path) -> list[ArrayInfo]:
    return [read_array_info(ArrayConfig(path=volume, array=name)) for name in ("raw", "labels")]


def change(array: Path, **metadata: object) -> None:
    path = array / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))


def test_what_can_be_read_passes_in_silence(volume: Path) -> None:
    """All arrays go through one process."""
    told: list[str] = []
    assert try_arrays(infos(volume), told.append) == [None, None]
    assert told == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda array: change(array, compressor={"id": "lz4"}), "Convert it"),
        (lambda array: change(array, filters=[{"id": "delta", "dtype": "<u8"}]), "Convert it"),
        (lambda array: (array / "0.0.0").write_bytes(b"torn"), "cannot read voxels"),
        (lambda array: (array / "0.0.0").unlink(), "absent_chunks: fill"),
    ],
    ids=["codec", "filter", "torn chunk", "no chunk"],
)
def test_what_cannot_be_read_is_a_fault_of_its_line(volume: Path, spoil, says: str) -> None:
    """Once, whatever the number of runs; the file, the line and the key are told."""
    spoil(volume / "labels")
    file = volume.parent / "experiment.yaml"

    with pytest.raises(ConfigError) as caught:
        read_experiment(file, (), lambda arrays: try_arrays(arrays, print))

    (line,) = str(caught.value).split("\n")
    assert line.startswith(f"{file}:6: datasets.0.gt: {volume}/labels: cannot read ")
    assert says in line


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_the_dry_run_opens_them(
    volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, cluster: str
) -> None:
    """And shows them, if they can be read."""
    monkeypatch.chdir(volume.parent)
    command = ("submit", "experiment.yaml", f"--cluster={cluster}", "--dry-run")

    assert cli.main(command) == exit_codes.OK
    assert "8 x 8 x 8" in capsys.readouterr().out
    change(volume / "labels", compressor={"id": "lz4"})
    assert cli.main(command) == exit_codes.UNUSABLE
    assert "experiment.yaml:6: datasets.0.gt: " in capsys.readouterr().err


def test_so_does_a_submission_by_a_program(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it writes anything."""
    monkeypatch.chdir(volume.parent)
    change(volume / "labels", compressor={"id": "lz4"})

    with pytest.raises(ConfigError, match="Convert it"):
        submit("experiment.yaml", "local")
    assert not Path("experiments").exists()


def test_only_metadata_are_read_without_a_trial(volume: Path) -> None:
    """As by commands that submit nothing."""
    shutil.rmtree(volume / "labels")
    write_array(volume / "labels", "<u8")

    assert len(read_experiment(volume.parent / "experiment.yaml").runs) == 2


def test_a_host_without_tensorstore_says_so(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused there."""
    monkeypatch.setattr(array_trial, "find_spec", lambda name: None)
    told: list[str] = []

    assert try_arrays(infos(volume), told.append) == [None, None]
    assert "TensorStore is not installed here" in told[0]


def test_a_trial_that_fails_is_no_fault_of_the_volume(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last word is told."""
    broken = volume.parent / "python"
    broken.write_text("#!/bin/sh\necho 'Killed by something' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    told: list[str] = []

    assert try_arrays(infos(volume), told.append) == [None, None]
    assert "(Killed by something); the job tries again" in told[0]


def test_a_volume_that_is_slow_is_not_refused(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and left to the job; what is wrong with others still counts."""
    change(volume / "labels", compressor={"id": "lz4"})
    hasty = volume.parent / "python"
    code = (
        "from trainers.datasets import trial; wrong = trial._problem; "
        "trial._problem = lambda info: (setattr(trial, '_PATIENCE_S', "
        "1e-9 if info.path.name == 'raw' else 9.0), wrong(info))[1]; "
        "trial._AT_ONCE = 1; trial.main()"
    )
    hasty.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    hasty.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hasty))
    told: list[str] = []

    raw, labels = try_arrays(infos(volume), told.append)
    assert raw is None
    assert labels is not None and "Convert it" in labels
    assert "could not open" in told[-1] and "volume.zarr/raw (" in told[-1]
    assert "no answer" in told[-1] and "; the job tries again" in told[-1]


def test_a_trial_that_takes_too_long_is_ended(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has found by then counts; that it takes long is told."""
    slow = volume.parent / "python"
    slow.write_text("#!/bin/sh\necho '[1, \"it is broken\"]'; exec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(array_trial, "_REPORT_S", 0.05)
    monkeypatch.setattr(array_trial, "_TIMEOUT_S", 0.5)
    told: list[str] = []

    assert try_arrays(infos(volume), told.append) == [None, "it is broken"]
    assert "opening 2 arrays" in told[0]
    assert "volume.zarr/raw (no answer in" in told[-1]

"""What users read when an experiment file is wrong.

The tables in `malformed/` hold what changes in `good/experiment.yaml`, by line, the files beside
it, and every line of the message; FOLDER stands for the folder of the experiment file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.experiment.experiment import read_experiment
from trainers.errors import ConfigError

HERE = Path(__file__).parent
CASES = [
    pytest.param(case, id=f"{table.stem}: {case['case']}")
    for table in sorted((HERE / "malformed").glob("*.yaml"))
    for case in yaml.safe_load(table.read_text())
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(HERE / "good", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(case: dict[str, Any]) -> str:
    lines = Path("experiment.yaml").read_text().splitlines()
    for number, line in case.get("change", {}).items():
        lines[number - 1] = line
    return case.get("text", "\n".join([*lines, ""]))


@pytest.mark.parametrize("case", CASES)
def test_all_faults_are_told(case, folder):
    """A malformed experiment is refused with exactly these lines."""
    Path("experiment.yaml").write_text(changed(case))
    for name, text in case.get("files", {}).items():
        Path(name).write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_experiment(Path("experiment.yaml"), case.get("overrides", ()))

    lines = str(caught.value).replace(str(folder), "FOLDER").split("\n")
    assert lines == case["says"]


def test_there_are_many_cases():
    """The tables are found."""
    assert len(CASES) >= 45


def test_missing_file(folder):
    """A path that leads nowhere is named."""
    with pytest.raises(ConfigError) as caught:
        read_experiment(Path("experimant.yaml"))

    assert str(caught.value) == "experimant.yaml: No such file or directory"


def test_folder_instead_of_file(folder):
    """A folder is no experiment file."""
    with pytest.raises(ConfigError) as caught:
        read_experiment(Path("data.zarr"))

    assert str(caught.value) == "data.zarr: Is a directory"


def test_other_encoding(folder):
    """A file must be UTF-8."""
    Path("experiment.yaml").write_bytes("name: größe".encode("latin-1"))

    with pytest.raises(ConfigError) as caught:
        read_experiment(Path("experiment.yaml"))

    assert str(caught.value) == "experiment.yaml: not UTF-8 text: invalid start byte"

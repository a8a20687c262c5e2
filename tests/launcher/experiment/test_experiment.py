"""What an experiment file becomes."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from launcher.experiment.experiment import read_experiment
from trainers.errors import ConfigError
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig

GOOD = Path(__file__).parent / "good" / "experiment.yaml"


def test_without_a_sweep():
    """An experiment without a sweep is one run of the same name."""
    experiment = read_experiment(GOOD)

    (run,) = experiment.runs
    assert experiment.name == run.name == run.experiment == run.trainer.name == "good"
    assert experiment.source == GOOD
    assert run.num_iterations == 400
    assert run.trainer.learning_rate == 1e-4
    assert isinstance(run.trainer, GunpowderTrainerConfig)
    assert run.trainer.num_data_fetchers == 5
    assert run.resources.time_s == 7200


def test_paths_start_at_the_file(monkeypatch):
    """Relative paths are relative to the file, from wherever it is read; so are user modules."""
    monkeypatch.chdir(GOOD.parent.parent)

    (run,) = read_experiment(Path("good/../good/experiment.yaml")).runs

    assert run.datasets[0].raw.path == GOOD.parent / "data.zarr"
    assert run.python_path == (GOOD.parent,)


def test_the_same_from_everywhere(monkeypatch):
    """A run is the same run, whatever the words that name its file."""
    monkeypatch.chdir(GOOD.parent)

    assert read_experiment(Path("experiment.yaml")).runs == read_experiment(GOOD).runs


def test_module_folders(tmp_path):
    """Folders of user modules are resolved as well; `~` is the home folder."""
    shutil.copytree(GOOD.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "modules").mkdir()

    (run,) = read_experiment(tmp_path / "experiment.yaml", ["python_path=[modules, ~/]"]).runs

    assert run.python_path == (tmp_path / "modules", Path.home())


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("trainer.batch_size=4", lambda run: run.trainer.batch_size == 4),
        ("trainer.learning_rate=3e-4", lambda run: run.trainer.learning_rate == 3e-4),
        ("datasets.0.weight=2", lambda run: run.datasets[0].weight == 2),
        ("trainer.augments.1.subsample=8", lambda run: run.trainer.augments[1].subsample == 8),
        ("trainer.augments=[]", lambda run: run.trainer.augments == ()),
        ("trainer.min_masked=null", lambda run: run.trainer.min_masked is None),
        ("trainer.min_masked=", lambda run: run.trainer.min_masked is None),
        ("name=a=b", lambda run: run.name == "a=b"),
        ("metrics={every_iterations: 3}", lambda run: run.metrics.every_iterations == 3),
        ("resources.time=1-00:00:00", lambda run: run.resources.time_s == 86_400),
        ("trainer.name=mine", lambda run: run.trainer.name == "mine"),
        ("deterministic=false", lambda run: not run.deterministic),
        ("init_from=../runs/a", lambda run: run.init_from == GOOD.absolute().parents[1] / "runs/a"),
    ],
)
def test_override(override, value):
    """Every value can be given on the command line, deep ones by dots."""
    (run,) = read_experiment(GOOD, [override]).runs

    assert value(run)


def test_override_in_a_section_that_is_not_there(tmp_path):
    """A section that the file leaves out is made."""
    shutil.copytree(GOOD.parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "experiment.yaml"
    path.write_text(path.read_text().replace("metrics: {every_iterations: 10}\n", ""))

    (run,) = read_experiment(path, ["metrics.every_iterations=7"]).runs

    assert run.metrics.every_iterations == 7


def test_last_override_wins():
    """Of two overrides of one key the later one counts."""
    (run,) = read_experiment(GOOD, ["seed=1", "seed=2"]).runs

    assert run.seed == 2


def test_dummy_trainer_needs_no_ground_truth():
    """Only a trainer that reads ground truth asks for it."""
    trainer = "trainer={kind: dummy, batch_size: 1, learning_rate: 0.1, mirror_augment: true}"

    (run,) = read_experiment(GOOD, [trainer, "datasets.0.gt=null", "datasets.0.mask=null"]).runs

    assert run.verify()[0] is False


def test_error_can_be_pickled():
    """The error keeps its lines on the way out of another process."""
    with pytest.raises(ConfigError) as caught:
        read_experiment(GOOD, ["seed=-1", "trainer.batch_size=0"])

    lines = str(pickle.loads(pickle.dumps(caught.value))).split("\n")
    assert lines == [
        "command line: seed=-1: seed: found -1; must be at least 0",
        "command line: trainer.batch_size=0: trainer.batch_size: found 0; must be at least 1",
    ]

"""One experiment, many runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.experiment.experiment import read_experiment
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.optimizers.optimizer_configs import AdamConfig, SGDConfig

GOOD = Path(__file__).parent / "good" / "experiment.yaml"


def names(*overrides):
    return [run.name for run in read_experiment(GOOD, overrides).runs]


def test_grid():
    """Every combination of the values is a run, the last key varying fastest."""
    runs = read_experiment(
        GOOD, ["sweep.trainer.learning_rate=[1e-4, 3e-4]", "sweep.seed=[1, 2]"]
    ).runs

    assert [(run.name, run.trainer.learning_rate, run.seed) for run in runs] == [
        ("learning_rate-0.0001_seed-1", 1e-4, 1),
        ("learning_rate-0.0001_seed-2", 1e-4, 2),
        ("learning_rate-0.0003_seed-1", 3e-4, 1),
        ("learning_rate-0.0003_seed-2", 3e-4, 2),
    ]
    assert {run.experiment for run in runs} == {"good"}
    assert {run.trainer.name for run in runs} == {"good"}
    assert len({run.fingerprint for run in runs}) == 4


def test_in_the_file(tmp_path):
    """A sweep may stand in the file, and an override may end it or change its values."""
    text = GOOD.read_text().replace("data.zarr", str(GOOD.parent / "data.zarr"))
    path = tmp_path / "experiment.yaml"
    path.write_text(f"{text}sweep:\n  seed: [1, 2]\n")

    assert [run.name for run in read_experiment(path).runs] == ["seed-1", "seed-2"]
    assert [run.name for run in read_experiment(path, ["sweep.seed=[5]"]).runs] == ["seed-5"]
    assert [run.name for run in read_experiment(path, ["sweep=null"]).runs] == ["good"]


def test_sections():
    """Whole sections can be swept; runs are named after their kinds."""
    sweep = "sweep.trainer.optimizer=[{kind: adam, eps: 1e-7}, {kind: sgd}]"

    adam, sgd = read_experiment(GOOD, [sweep]).runs

    assert isinstance(adam.trainer, GunpowderTrainerConfig)
    assert isinstance(sgd.trainer, GunpowderTrainerConfig)
    assert (adam.name, adam.trainer.optimizer) == ("optimizer-adam-eps-1e-07", AdamConfig(eps=1e-7))
    assert (sgd.name, sgd.trainer.optimizer) == ("optimizer-sgd", SGDConfig())


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        (
            "architecture.input_shape=[[52, 52, 52], [44, 52, 52]]",
            ["input_shape-52x52x52", "input_shape-44x52x52"],
        ),
        ("trainer.clip_raw=[true, false]", ["clip_raw-true", "clip_raw-false"]),
        ("trainer.min_masked=[null, 0.5]", ["min_masked-none", "min_masked-0.5"]),
        (
            "trainer.augments=[[], [{kind: simple}, {kind: noise}]]",
            ["augments-empty", "augments-simplexnoise"],
        ),
        ("trainer.augments.1.subsample=[1, 4]", ["subsample-1", "subsample-4"]),
        ("trainer.augments.0=[{kind: simple}]", ["augments.0-simple"]),
        ("wandb.project=['a/b', 'ü c']", ["project-a-b", "project--c"]),
    ],
)
def test_names(sweep, expected):
    """A name is the last word of the key and the value, and always safe as a folder's."""
    assert names(f"sweep.{sweep}") == expected


def test_words_that_are_not_unique():
    """Keys that end in the same word appear whole in the name."""
    assert names("sweep.checkpoint.every_iterations=[5]", "sweep.metrics.every_iterations=[7]") == [
        "checkpoint.every_iterations-5_metrics.every_iterations-7"
    ]


def test_long_values():
    """A long name is cut, and stays unique."""
    long = "a" * 300

    first, second = names(f"sweep.wandb.project=['{long}b', '{long}c']")

    assert len(first) == len(second) == 100
    assert first[:91] == second[:91] == "project-" + 83 * "a"
    assert first != second


def test_thousand_runs():
    """A large grid resolves into as many runs, each with a name of its own."""
    ten = list(range(1, 11))

    found = names(
        f"sweep.seed={ten}", f"sweep.trainer.batch_size={ten}", f"sweep.datasets.0.weight={ten}"
    )

    assert len(set(found)) == len(found) == 1000
    assert found[-1] == "seed-10_batch_size-10_weight-10"

"""What a run is, and when two runs are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from trainers.architectures.unet_config import UNetConfig
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.config_io import from_plain, to_plain, write_run_config
from trainers.config.run_config import (
    MetricsConfig,
    ResourcesConfig,
    RunConfig,
    WandbConfig,
)
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.errors import ConfigError
from trainers.gp_augments import (
    GammaAugmentConfig,
    IntensityAugmentConfig,
    IntensityScaleShiftAugmentConfig,
    NoiseAugmentConfig,
    SimpleAugmentConfig,
)
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.optimizers import SGDConfig
from trainers.tasks.task_configs import DistanceTaskConfig

TRAINER = GunpowderTrainerConfig(name="t", batch_size=2, learning_rate=1e-4)
DATASET = DatasetConfig(name="cells", raw=ArrayConfig(path="/data/cells.zarr", array="raw"))
RUN = RunConfig(
    name="first",
    num_iterations=100,
    datasets=(DATASET,),
    task=DistanceTaskConfig(scale_nm=50.0),
    architecture=UNetConfig(input_shape=(52, 52, 52)),
    trainer=TRAINER,
)


def with_augments(*augments: Any) -> GunpowderTrainerConfig:
    """Any, since mypy makes nothing of the field's converter."""
    return attrs.evolve(TRAINER, augments=augments)


MATTERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "dataset weight": {"datasets": (attrs.evolve(DATASET, weight=2),)},
    "one more dataset": {"datasets": (DATASET, attrs.evolve(DATASET, name="more"))},
    "task": {"task": DistanceTaskConfig(scale_nm=51.0)},
    "architecture": {"architecture": UNetConfig(input_shape=(52, 52, 52), num_features=13)},
    "learning rate": {"trainer": attrs.evolve(TRAINER, learning_rate=2e-4)},
    "batch size": {"trainer": attrs.evolve(TRAINER, batch_size=3)},
    "augments": {"trainer": with_augments(SimpleAugmentConfig())},
    "min_masked": {"trainer": attrs.evolve(TRAINER, min_masked=None)},
    "clip_raw": {"trainer": attrs.evolve(TRAINER, clip_raw=False)},
    "optimizer": {"trainer": attrs.evolve(TRAINER, optimizer=SGDConfig())},
    "precision": {"trainer": attrs.evolve(TRAINER, precision="bf16")},
    "micro-batches": {"trainer": attrs.evolve(TRAINER, micro_batch_size=1)},
    "clipping": {"trainer": attrs.evolve(TRAINER, max_gradient_norm=1.0)},
    "averages": {"trainer": attrs.evolve(TRAINER, ema_decay=0.99)},
    "order of sums": {"trainer": attrs.evolve(TRAINER, exact_across_ranks=True)},
    "first weights": {"init_from": Path("/experiments/one/runs/a")},
    "kind of trainer": {
        "trainer": DummyTrainerConfig(
            name="t", batch_size=2, learning_rate=1e-4, mirror_augment=True
        )
    },
}
MATTERS_NOT = {
    "name": {"name": "second", "experiment": "other"},
    "length": {"num_iterations": 200},
    "workers": {"trainer": attrs.evolve(TRAINER, num_data_fetchers=0)},
    "snapshots": {"trainer": attrs.evolve(TRAINER, snapshot_interval=10)},
    "name of the trainer": {"trainer": attrs.evolve(TRAINER, name="u")},
    "checkpoints": {"checkpoint": CheckpointConfig(every_iterations=1)},
    "metrics": {"metrics": MetricsConfig(every_iterations=2)},
    "W&B": {"wandb": WandbConfig(project="cells", mode="online")},
    "resources": {"resources": ResourcesConfig(gpus=0, cpus=1)},
    "modules": {"python_path": ()},
    "speed": {"deterministic": False},
}


@pytest.mark.parametrize("change", MATTERS.values(), ids=MATTERS)
def test_identity_sees(change):
    """What changes the weights changes the identity."""
    assert attrs.evolve(RUN, **change).fingerprint != RUN.fingerprint


@pytest.mark.parametrize("change", MATTERS_NOT.values(), ids=MATTERS_NOT)
def test_identity_does_not_see(change):
    """What leaves the weights alone leaves the identity alone."""
    assert attrs.evolve(RUN, **change).fingerprint == RUN.fingerprint


def test_keys_that_earlier_runs_do_not_have_are_no_part_of_their_identity():
    """Without a value; with one, they count like all others."""
    dataset = RUN.datasets[0]
    assert not {"scale", "axes", "time", "channel", "offset_is"} & set(
        RUN.fingerprint_fields["datasets"][0]["raw"]
    )
    for given in ({"scale": 0}, {"time": 0}, {"channel": 0}, {"offset_is": "corner"}):
        raw = attrs.evolve(dataset.raw, **given)
        changed = attrs.evolve(RUN, datasets=(attrs.evolve(dataset, raw=raw),))
        assert changed.fingerprint != RUN.fingerprint


def test_identity_is_the_same_everywhere(tmp_path):
    """Another process that reads the keys in another order finds the same identity."""

    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return value

    assert from_plain(RunConfig, backwards(to_plain(RUN))).fingerprint == RUN.fingerprint
    path = tmp_path / "config.yaml"
    write_run_config(path, RUN)
    code = (
        "import sys; from pathlib import Path; "
        "from trainers.config.config_io import read_run_config; "
        "sys.stdout.write(read_run_config(Path(sys.argv[1])).fingerprint)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {RUN.fingerprint}
    assert len(RUN.fingerprint) == 16


def test_run_that_stands_alone():
    """A run without an experiment is its own."""
    assert RUN.experiment == "first"


@pytest.mark.parametrize(
    ("time", "time_s"),
    [("00:00:01", 1), ("02:00:00", 7200), ("100:00:00", 360_000), ("2-01:00:00", 176_400)],
)
def test_time(time, time_s):
    """A time limit is given the way Slurm writes it."""
    assert ResourcesConfig(time=time).time_s == time_s


@pytest.mark.parametrize("time", ["", "2:00", "00:00:00", "1:60:00", "1-2", "-1:00:00", "1h"])
def test_no_time(time):
    """Other ways to write a time, and no time at all, are refused."""
    with pytest.raises(ValueError, match="must be a time above 0 as HH:MM:SS or days-HH:MM:SS"):
        ResourcesConfig(time=time)


@pytest.mark.parametrize(
    ("resources", "ranks_per_node", "num_ranks"),
    [
        ({"gpus": 1}, 1, 1),
        ({"gpus": 0.5}, 1, 1),
        ({"gpus": 0}, 1, 1),
        ({"gpus": 4, "nodes": 2}, 4, 8),
        ({"gpus": 0, "nodes": 3}, 1, 3),
    ],
)
def test_ranks(resources, ranks_per_node, num_ranks):
    """There is a rank for each GPU, and one on a node with none or with a share of one."""
    config = from_plain(ResourcesConfig, resources)

    assert (config.ranks_per_node, config.num_ranks) == (ranks_per_node, num_ranks)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus": -1}, "gpus: found -1; must be at least 0"),
        (
            {"gpus": 1.5},
            "gpus: must be a whole number, a share of one GPU between 0 and 1, or 0; found 1.5",
        ),
        (
            {"gpus": 0.5, "nodes": 2},
            "gpus: found 0.5 on each of 2 nodes; must be a whole number, or 0 for one process on "
            "each, if there are several nodes",
        ),
        ({"nodes": 0}, "nodes: found 0; must be at least 1"),
        ({"nodes": 1.5}, "nodes: found 1.5; must be a whole number"),
    ],
)
def test_no_ranks(resources, message):
    """What cannot be given is refused, and what can be is said."""
    with pytest.raises(ConfigError) as caught:
        from_plain(ResourcesConfig, resources)

    assert str(caught.value) == message


def test_ranks_share_the_batch():
    """A batch that the ranks cannot share evenly makes a run invalid; the nearest that can help."""
    four = attrs.evolve(RUN, resources=ResourcesConfig(gpus=2, nodes=2))
    six = attrs.evolve(four, trainer=attrs.evolve(TRAINER, batch_size=6))
    eight = attrs.evolve(four, trainer=attrs.evolve(TRAINER, batch_size=8))

    assert [each.verify()[0] for each in (four, six, eight)] == [False, False, True]
    assert six.verify()[1] == (
        "trainer.batch_size is 6, which the 4 ranks of the run (nodes x gpus in resources) cannot "
        "share evenly; nearest batch sizes that they can: 4 or 8"
    )


@pytest.mark.parametrize(
    ("change", "num_ranks", "reason"),
    [
        ({"micro_batch_size": 3}, 4, None),
        ({"micro_batch_size": 1}, 12, None),
        (
            {"micro_batch_size": 4},
            2,
            "trainer.micro_batch_size is 4, which does not divide the 6 samples of each batch that "
            "each of the 2 ranks of the run (nodes x gpus in resources) has; sizes that do: "
            "1, 2, 3, 6",
        ),
        ({"exact_across_ranks": True}, 1, None),
        ({"exact_across_ranks": True}, 4, None),
        ({"exact_across_ranks": True, "micro_batch_size": 3}, 4, None),
        (
            {"exact_across_ranks": True},
            3,
            "trainer.exact_across_ranks: 3 ranks (nodes x gpus in resources) cannot add up the 12 "
            "micro-batches of a batch (batch_size 12 / micro_batch_size 1) in the order of a "
            "single rank; numbers of ranks that can: 1, 2, 4",
        ),
        (
            {"exact_across_ranks": True, "micro_batch_size": 4},
            2,
            "trainer.exact_across_ranks: 2 ranks (nodes x gpus in resources) cannot add up the 3 "
            "micro-batches of a batch (batch_size 12 / micro_batch_size 4) in the order of a "
            "single rank; numbers of ranks that can: 1",
        ),
    ],
)
def test_ranks_share_micro_batches(change, num_ranks, reason):
    """Each rank has whole ones; in an exact run also a whole sub-tree of the sums."""
    trainer = attrs.evolve(TRAINER, batch_size=12, **change)
    run = attrs.evolve(RUN, trainer=trainer, resources=ResourcesConfig(gpus=num_ranks))

    assert run.verify() == (reason is None, reason or "all values go together")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp8"}, "precision: found 'fp8'; allowed: fp32, bf16, fp16"),
        ({"micro_batch_size": 3}, "micro_batch_size: found 3; must divide batch_size (4)"),
        ({"micro_batch_size": 0}, "micro_batch_size: found 0; must be at least 1"),
        ({"max_gradient_norm": 0}, "max_gradient_norm: found 0; must be more than 0"),
        ({"ema_decay": 1}, "ema_decay: found 1; must be less than 1"),
        ({"exact_across_ranks": 1}, "exact_across_ranks: found 1; must be true or false"),
    ],
)
def test_no_step(change, message):
    """What an optimizer step cannot be is refused."""
    with pytest.raises(ConfigError) as caught:
        from_plain(
            GunpowderTrainerConfig, {"name": "t", "batch_size": 4, "learning_rate": 0.1, **change}
        )

    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "a\n", "größe", 201 * "a"])
def test_no_folder_name(name):
    """A run's name must do as a folder's on any system."""
    with pytest.raises(ValueError, match="must be the name of a folder"):
        attrs.evolve(RUN, name=name)


def test_dummy_runs_are_not_valid():
    """A run is verified by its trainer."""
    assert RUN.verify() == (True, "all values go together")
    assert attrs.evolve(RUN, **MATTERS["kind of trainer"]).verify() == (
        False,
        "a DummyTrainerConfig is for tests and is never valid",
    )


TO_BOTH_SIDES_OF_0 = IntensityScaleShiftAugmentConfig(scale=2, shift=-1)
BACK = IntensityScaleShiftAugmentConfig(scale=0.5, shift=0.5)
GAMMA = GammaAugmentConfig(gamma_range=(0.5, 2))


@pytest.mark.parametrize(
    ("augments", "valid"),
    [
        ([GAMMA, TO_BOTH_SIDES_OF_0], True),
        ([TO_BOTH_SIDES_OF_0, GAMMA], False),
        ([TO_BOTH_SIDES_OF_0, SimpleAugmentConfig(), BACK, GAMMA], True),
        ([TO_BOTH_SIDES_OF_0, NoiseAugmentConfig()], False),
        ([TO_BOTH_SIDES_OF_0, NoiseAugmentConfig(clip=False)], True),
        ([TO_BOTH_SIDES_OF_0, IntensityAugmentConfig(scale=(1, 1), shift=(0, 0))], False),
    ],
)
def test_augments_that_need_0_to_1(augments, valid):
    """An augment that cannot take what the one before it gives makes a run useless."""
    assert attrs.evolve(TRAINER, augments=augments).verify()[0] is valid


def test_reason_names_the_augment():
    """The reason tells which augment is in the wrong place, and what to do."""
    assert with_augments(TO_BOTH_SIDES_OF_0, GAMMA).verify() == (
        False,
        "augments.1 needs raw within 0..1, but the scale and shift before it turn that into -1..1; "
        "move it to the front",
    )


@pytest.mark.parametrize("tag", ["", "x" * 65])
def test_tags_are_those_that_wandb_takes(tag: str) -> None:
    """A tag that W&B would refuse is refused before a run begins."""
    with pytest.raises(ValueError, match="must have 1 to 64 characters each"):
        WandbConfig(tags=("em", tag))

"""The trainer as a program uses it, without a launcher or a run folder."""

import json

import numpy as np
import pytest
import torch

import trainers
from tests.trainers.datasets.volumes import write_zarr2
from trainers.architectures.custom_config import CustomArchitectureConfig
from trainers.architectures.model import build_model
from trainers.architectures.unet_config import UNetConfig
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.optimizers import AdamConfig, ConstantScheduleConfig
from trainers.tasks import AffinitiesTaskConfig, DistanceTaskConfig, OneHotTaskConfig

NET = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self, in_channels, width):
        super().__init__(nn.Conv3d(in_channels, width, 3), nn.ReLU(), nn.Conv3d(width, 3, 1))
"""


def make_dataset(folder, shape, *, channels=None, name="cells", gt=True):
    rng = np.random.default_rng(0)
    labels = (np.indices(shape).sum(0) // 6 % 3).astype(np.uint64)
    raw = (labels * 80 + rng.integers(0, 20, shape)).astype(np.uint8)
    axes = ["z", "y", "x"][-len(shape) :]
    if channels:
        raw, raw_axes = np.stack([raw] * channels), ["c", *axes]
    else:
        raw_axes = axes
    container = folder / f"{name}.zarr"
    write_zarr2(container / "raw", raw, axis_names=raw_axes)
    write_zarr2(container / "gt", labels, axis_names=axes)
    size = (8.0,) * len(shape)
    arrays = {
        key: ArrayConfig(path=container, array=key, voxel_size_nm=size) for key in ("raw", "gt")
    }
    return DatasetConfig(name=name, raw=arrays["raw"], gt=arrays["gt"] if gt else None).build()


def start(task_config, architecture, datasets, snapshots=None, **changes):
    settings = {"batch_size": 2, "learning_rate": 0.01, "num_data_fetchers": 0, **changes}
    config = trainers.GunpowderTrainerConfig(name="test", **settings)
    trainer = config.trainer_type(config)
    task = task_config.build()
    model = build_model(
        architecture,
        num_channels=task_config.num_channels,
        activation=task.activation,
        in_channels=datasets[0].raw.num_channels or 1,
        seed=0,
    )
    trainer.build_batch_provider(datasets, model, task, snapshots)
    return trainer, model


def train(trainer, model, num_iterations):
    optimizer = trainer.create_optimizer(model)
    with trainer:
        return list(trainer.iterate(num_iterations, model, optimizer, torch.device("cpu")))


UNET_3D = UNetConfig(input_shape=(20, 20, 20), num_features=2, downsample_factors=((2, 2, 2),))
UNET_2D = UNetConfig(input_shape=(24, 24), num_features=2, downsample_factors=((2, 2),))


@pytest.mark.parametrize(
    ("task", "architecture", "shape", "channels"),
    [
        (AffinitiesTaskConfig(neighborhood=((0, 1), (3, 0))), UNET_2D, (40, 44), None),
        (AffinitiesTaskConfig(neighborhood=((0, 0, -4),)), UNET_3D, (24, 26, 28), 3),
        (OneHotTaskConfig(classes=("a", "b", "c")), UNET_3D, (24, 26, 28), None),
        (DistanceTaskConfig(scale_nm=16.0), UNET_3D, (24, 26, 28), None),
    ],
    ids=["2-D affinities", "multi-channel raw", "one-hot", "distance"],
)
def test_batches_have_the_shapes_of_the_model(tmp_path, task, architecture, shape, channels):
    """raw, gt, target, weight and mask come as documented, whatever the task and the axes."""
    dataset = make_dataset(tmp_path, shape, channels=channels)
    trainer, _ = start(task, architecture, [dataset])

    with trainer:
        raw, gt, target, weight, mask = trainer.next()

    block = architecture.output_shape
    assert (raw.shape, raw.dtype) == ((2, channels or 1, *architecture.input_shape), np.float32)
    assert (gt.shape, gt.dtype) == ((2, *block), np.uint64)
    assert (target.shape, target.dtype) == ((2, task.num_channels, *block), np.float32)
    assert (weight.shape, weight.dtype) == (target.shape, np.float32)
    assert (mask.shape, mask.dtype) == ((2, *block), np.uint8)
    assert 0 <= raw.min() < raw.max() <= 1


def test_iterations_are_counted_and_reported(tmp_path):
    """The counter moves with every iteration, also when the caller breaks out."""
    dataset = make_dataset(tmp_path, (24, 26, 28))
    trainer, model = start(AffinitiesTaskConfig(neighborhood=((1, 0, 0),)), UNET_3D, [dataset])
    optimizer = trainer.create_optimizer(model)

    with trainer:
        for stats in trainer.iterate(10, model, optimizer, torch.device("cpu")):
            if stats.iteration == 2:
                break

    assert trainer.iteration == 3
    assert trainer.state_dict() == {"iteration": 3}
    assert stats.learning_rate == pytest.approx(0.01 * (0.01 + 0.99 * 2 / 1000))
    assert stats.loss > 0
    assert stats.time > 0
    assert stats.data_wait > 0


def test_a_trainer_goes_on_where_its_state_says(tmp_path):
    """Three and three iterations, with other data workers, give the losses of six."""
    dataset = make_dataset(tmp_path, (24, 26, 28))
    task = AffinitiesTaskConfig(neighborhood=((1, 0, 0),))
    trainer, model = start(task, UNET_3D, [dataset])
    whole = train(trainer, model, 6)

    trainer, model = start(task, UNET_3D, [dataset])
    optimizer = trainer.create_optimizer(model)
    with trainer:
        first = list(trainer.iterate(3, model, optimizer, torch.device("cpu")))
    state = trainer.state_dict()
    trainer, _ = start(task, UNET_3D, [dataset], num_data_fetchers=1)
    trainer.load_state_dict(state)
    with trainer:
        second = list(trainer.iterate(3, model, optimizer, torch.device("cpu")))

    assert [each.loss for each in first + second] == [each.loss for each in whole]


def test_datasets_without_ground_truth_are_named(tmp_path, caplog):
    """can_train is False, and the log says which dataset lacks what."""
    good = make_dataset(tmp_path, (24, 26, 28))
    bad = make_dataset(tmp_path, (24, 26, 28), name="raw-only", gt=False)
    config = trainers.GunpowderTrainerConfig(name="test", batch_size=1, learning_rate=0.1)
    trainer = trainers.GunpowderTrainer(config)

    assert trainer.can_train([good])
    assert not trainer.can_train([])
    assert not trainer.can_train([good, bad])
    assert "dataset 'raw-only' has no ground truth" in caplog.text


def test_data_come_only_inside_of_the_with_block(tmp_path):
    """Outside, the error says what to do."""
    dataset = make_dataset(tmp_path, (24, 26, 28))
    trainer, _ = start(AffinitiesTaskConfig(neighborhood=((1, 0, 0),)), UNET_3D, [dataset])

    with pytest.raises(RuntimeError, match="use the trainer in a `with` block"):
        trainer.next()


def test_snapshots_show_what_the_trainer_saw(tmp_path):
    """Every snapshot_interval iterations, 0 included, all seven pictures are written."""
    dataset = make_dataset(tmp_path, (24, 26, 28))
    task = AffinitiesTaskConfig(neighborhood=((1, 0, 0), (0, 1, 0)))
    snapshots = tmp_path / "snapshots.zarr"
    trainer, model = start(task, UNET_3D, [dataset], snapshots, snapshot_interval=2)

    train(trainer, model, 3)

    assert sorted(each.name for each in snapshots.iterdir() if each.is_dir()) == ["0", "2"]
    names = {each.name for each in (snapshots / "2").iterdir() if each.is_dir()}
    assert names == {"raw", "gt", "target", "weight", "prediction", "gradients", "mask"}
    (image,) = json.loads((snapshots / "2" / "gt" / ".zattrs").read_text())["multiscales"]
    transformations = image["datasets"][0]["coordinateTransformations"]
    border = (20 - UNET_3D.output_shape[0]) / 2 * 8.0
    assert transformations == [
        {"type": "scale", "scale": [8.0, 8.0, 8.0]},
        {"type": "translation", "translation": [border] * 3},
    ]


def test_a_users_own_network_is_trained(tmp_path, monkeypatch):
    """Any torch module by its import path; here it returns the channels of the task itself."""
    (tmp_path / "users_net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    architecture = CustomArchitectureConfig(
        import_path="users_net:Net",
        arguments={"width": 4},
        input_shape=(10, 10, 10),
        output_shape=(8, 8, 8),
    )
    task = AffinitiesTaskConfig(neighborhood=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    dataset = make_dataset(tmp_path, (24, 26, 28))

    optimizer = AdamConfig(schedule=ConstantScheduleConfig())

    trainer, model = start(task, architecture, [dataset], optimizer=optimizer)
    stats = train(trainer, model, 40)

    losses = [each.loss for each in stats]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_dummy_trainer_learns_and_counts():
    """It needs no data, moves its counter with every iteration, and its loss falls."""
    config = trainers.DummyTrainerConfig(
        name="dummy", batch_size=2, learning_rate=0.05, mirror_augment=True
    )
    trainer = config.build()
    task = AffinitiesTaskConfig(neighborhood=((0, 1),))
    model = build_model(
        UNET_2D, num_channels=1, activation=task.build_activation(), in_channels=1, seed=0
    )
    trainer.build_batch_provider([], model, task.build())

    stats = train(trainer, model, 20)

    assert [each.iteration for each in stats] == list(range(20))
    assert trainer.iteration == 20
    assert stats[-1].loss < 0.5 * stats[0].loss

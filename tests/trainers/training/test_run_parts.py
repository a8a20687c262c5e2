"""A run's parts, taken apart into a checkpoint and put together again."""

import json
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch

from scripts.workloads.empty_volume import write_array
from trainers.checkpoints import CheckpointStore
from trainers.config.config_io import to_plain
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.errors import DataError
from trainers.training.random_state import RandomState
from trainers.training.run_parts import RunParts


class Net(torch.nn.Linear):
    in_channels = 1


def make_parts():
    trainer = DummyTrainerConfig(
        name="dummy", batch_size=1, learning_rate=0.1, mirror_augment=False
    ).build()
    model: Any = Net(3, 2)
    return RunParts(trainer, model, trainer.create_optimizer(model), torch.device("cpu"))


def step(parts):
    parts.optimizer.zero_grad()
    parts.model(torch.ones(1, 3)).square().sum().backward()
    parts.optimizer.step()
    parts.trainer.iteration += 1


def test_restored_parts_are_copies(tmp_path):
    """What a checkpoint was read into can be used for something else afterwards."""
    parts, random_state = make_parts(), RandomState.of_iteration(5, 1)
    step(parts)
    store = CheckpointStore(tmp_path / "checkpoints", fingerprint="x")
    store.save(1, parts.state_dict(random_state))
    step(parts)
    checkpoint, restored = store.load(1), make_parts()
    read = checkpoint.state

    with restored.entered(checkpoint) as found:
        pass
    for value in (*read["model"].values(), *read["optimizer"]["state"][0].values()):
        value.zero_()
    read["random"]["torch_cpu"].zero_()
    step(restored)

    assert restored.trainer.iteration == parts.trainer.iteration == 2
    assert found.torch_cpu.equal(random_state.torch_cpu)
    for name, value in parts.model.state_dict().items():
        assert restored.model.state_dict()[name].equal(value)


def manifest_of(config, **environment):
    """As far as it is about volumes."""
    plain: Any = to_plain(config)
    return SimpleNamespace(what_counts={"datasets": [plain]}, environment=environment)


def with_dataset(config):
    return attrs.evolve(make_parts(), datasets=(config.build(),))


def set_attributes(folder, **attributes):
    path = folder / ".zattrs"
    path.write_text(json.dumps({**json.loads(path.read_text()), **attributes}))


def test_volumes_that_are_understood_otherwise_are_refused(tmp_path):
    """Whatever has changed: the files, the config or the readers of both."""
    folder = tmp_path / "raw"
    write_array(folder, "|u1")
    config = DatasetConfig(name="a", raw=ArrayConfig(path=folder))
    manifest: Any = manifest_of(config, **with_dataset(config).grids())
    with_dataset(config).refuse_other_grids(manifest)

    raw = attrs.evolve(config.raw, axes=("x", "y", "z"))
    with pytest.raises(DataError, match=r"a/raw was read as \[axes z y x;.*now \[axes x y z;"):
        with_dataset(attrs.evolve(config, raw=raw)).refuse_other_grids(manifest)
    set_attributes(folder, voxel_size=[8, 8, 16])
    with pytest.raises(DataError, match=r"of 8 x 8 x 8 nm.* now .*of 8 x 8 x 16 nm"):
        with_dataset(config).refuse_other_grids(manifest)


def test_a_run_without_a_record_of_it_was_trained_on_what_was_read_then(tmp_path):
    """With xarray's names unread; with `axes` it goes on as it began."""
    folder = tmp_path / "raw"
    write_array(folder, "|u1")
    (folder / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x", "y", "z"]}')
    config = DatasetConfig(
        name="a", raw=ArrayConfig(path=folder, voxel_size_nm=(8, 8, 8), offset_nm=(0, 0, 0))
    )
    earlier: Any = manifest_of(config, **{"volume a/raw": "0123456789abcdef 0.0.0"})

    with pytest.raises(DataError, match=r"a/raw was read as \[axes z y x;.*now \[axes x y z;"):
        with_dataset(config).refuse_other_grids(earlier)
    raw = attrs.evolve(config.raw, axes=("z", "y", "x"))
    with_dataset(attrs.evolve(config, raw=raw)).refuse_other_grids(earlier)
    today: Any = manifest_of(config, **{"volume a/raw": "metadata 0123456789abcdef 0.0.0"})
    with_dataset(config).refuse_other_grids(today)

import inspect
from typing import Any

import attrs
import pytest

import trainers
import trainers.gp_augments
import trainers.optimizers


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_every_public_name_is_there():
    """`__all__` is what the package hands on, and nothing of it is missing."""
    for name in trainers.__all__:
        assert getattr(trainers, name) is getattr(trainers, name)
    assert callable(trainers.load_model)
    assert set(trainers.__all__) <= set(dir(trainers))


def test_an_unknown_name_is_an_attribute_error():
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="'trainers' has no attribute 'Trainr'"):
        trainers.Trainr  # noqa: B018


@pytest.mark.parametrize("trainer", ["Trainer", "DummyTrainer", "GunpowderTrainer"])
def test_trainers_keep_their_signatures(trainer):
    """Programs written against the reference go on working."""
    cls = getattr(trainers, trainer)

    assert parameters(cls.create_optimizer) == ["self", "model"]
    assert parameters(cls.iterate) == ["self", "num_iterations", "model", "optimizer", "device"]
    assert parameters(cls.can_train) == ["self", "datasets"]
    assert parameters(cls.build_batch_provider) == [
        "self",
        "datasets",
        "model",
        "task",
        "snapshot_container",
    ]


def test_trainers_take_their_config():
    """A trainer is made from its config, which knows its class, and starts at iteration 0."""
    dummy = trainers.DummyTrainerConfig(
        name="d", batch_size=2, learning_rate=0.1, mirror_augment=True
    )
    gunpowder = trainers.GunpowderTrainerConfig(name="g", batch_size=2, learning_rate=0.1)

    configs: list[Any] = [dummy, gunpowder]
    for config in configs:
        trainer = config.trainer_type(config)
        assert (trainer.iteration, trainer.batch_size, trainer.learning_rate) == (0, 2, 0.1)
    assert parameters(trainers.GunpowderTrainer.next) == ["self"]


def test_gunpowder_defaults():
    """The defaults are those of the reference."""
    config = trainers.GunpowderTrainerConfig(name="g", batch_size=2, learning_rate=0.1)

    assert config.num_data_fetchers == 5
    assert list(config.augments) == []
    assert config.snapshot_interval is None
    assert config.min_masked == 0.15
    assert config.clip_raw is True


def test_configs_can_be_verified():
    """`verify` says whether the config can train, and why not."""
    dummy = trainers.DummyTrainerConfig(
        name="d", batch_size=2, learning_rate=0.1, mirror_augment=True
    )

    valid, reason = dummy.verify()

    assert valid is False
    assert "never valid" in reason


def test_augments_make_gunpowder_nodes():
    """Every augment config has the node method of the reference."""
    names = [name for name in trainers.gp_augments.__all__ if name != "AugmentConfig"]

    assert len(names) >= 6
    for name in names:
        cls = getattr(trainers.gp_augments, name)
        assert issubclass(cls, trainers.AugmentConfig)
        assert parameters(cls.node) == ["self", "raw_key", "gt_key", "mask_key"]


def test_configs_are_frozen():
    """A config cannot change after its checks."""
    config = trainers.GunpowderTrainerConfig(name="g", batch_size=2, learning_rate=0.1)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.batch_size = 3  # type: ignore[misc]  # this is what is tried

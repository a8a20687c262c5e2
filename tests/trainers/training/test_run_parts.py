"""A run's parts, taken apart into a checkpoint and put together again."""

from typing import Any

import torch

from trainers.checkpoints import CheckpointStore
from trainers.dummy_trainer_config import DummyTrainerConfig
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

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch

from trainers.architectures import UNetConfig
from trainers.architectures.model import Model, build_model
from trainers.architectures.unet_config import Normalization

CONFIG = UNetConfig(input_shape=(44, 48), num_features=2)


def _build(seed: int) -> Model:
    return build_model(
        CONFIG, num_channels=3, activation=torch.nn.Sigmoid(), in_channels=1, seed=seed
    )


def test_shapes() -> None:
    """A model tells what goes in and what comes out."""
    model = _build(seed=0)

    assert (model.in_channels, model.input_shape, model.output_shape) == (1, (44, 48), (4, 8))
    assert model.scale((40.0, 4.0)) == (40.0, 4.0)
    assert tuple(model(torch.zeros(2, 1, 44, 48)).shape) == (2, 3, 4, 8)


def test_logits_in_training_and_predictions_in_evaluation() -> None:
    """A new model is in training mode; evaluation adds the activation, nothing else."""
    model = _build(seed=0)
    raw = torch.ones(1, 1, 44, 48)

    logits = model(raw)
    prediction = model.eval()(raw)

    assert torch.equal(prediction, logits.sigmoid())


def test_seed_determines_every_weight() -> None:
    """The same seed gives the same bits, another seed others."""
    first, again, other = (_build(seed).state_dict() for seed in (7, 7, 8))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("normalization", ["none", "group"])
def test_a_model_to_be_restored_draws_no_weights(normalization: Normalization) -> None:
    """Once it has another one's state, it is the same as that one, bit for bit."""
    config = attrs.evolve(CONFIG, normalization=normalization)
    options: dict[str, Any] = {
        "num_channels": 3,
        "activation": torch.nn.Sigmoid(),
        "in_channels": 1,
        "seed": 7,
    }
    original = build_model(config, **options)
    restored = build_model(config, **options, is_restored=True)

    assert not torch.equal(*(each.get_parameter("head.weight") for each in (restored, original)))
    restored.load_state_dict(original.state_dict())

    raw = torch.rand(1, 1, 44, 48)
    assert torch.equal(restored(raw), original(raw))
    assert [each.requires_grad for each in restored.parameters()] == [
        each.requires_grad for each in original.parameters()
    ]
    assert set(restored.state_dict()) == {
        name for name, _ in (*restored.named_parameters(), *restored.named_buffers())
    }


def test_global_random_states_stay() -> None:
    """Building a model draws from no random state that somebody else uses."""
    torch_state, numpy_state = torch.get_rng_state(), numpy_numbers()

    _build(seed=7)

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert numpy_numbers() == numpy_state


def numpy_numbers() -> list[int]:
    """The state of NumPy's global generator."""
    state: Any = np.random.get_state()
    return list(state[1])

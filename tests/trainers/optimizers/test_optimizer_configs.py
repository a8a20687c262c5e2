from __future__ import annotations

import pytest
import torch

from trainers.config.kinds import OPTIMIZERS, SCHEDULES
from trainers.optimizers import (
    AdamConfig,
    AdamWConfig,
    LinearWarmUpScheduleConfig,
    OptimizerConfig,
    RAdamConfig,
    SGDConfig,
)


def _parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor([1.0, -2.0]))]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RAdamConfig(), torch.optim.RAdam(_parameters(), lr=0.1)),
        (AdamConfig(), torch.optim.Adam(_parameters(), lr=0.1)),
        (AdamWConfig(), torch.optim.AdamW(_parameters(), lr=0.1)),
        (SGDConfig(), torch.optim.SGD(_parameters(), lr=0.1)),
        (
            RAdamConfig(weight_decay=0.5, decoupled_weight_decay=True, betas=(0.8, 0.9), eps=1e-3),
            torch.optim.RAdam(
                _parameters(),
                lr=0.1,
                betas=(0.8, 0.9),
                eps=1e-3,
                weight_decay=0.5,
                decoupled_weight_decay=True,
            ),
        ),
        (
            AdamConfig(weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3),
            torch.optim.Adam(_parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5),
        ),
        (
            AdamWConfig(weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3),
            torch.optim.AdamW(_parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5),
        ),
        (
            SGDConfig(momentum=0.9, nesterov=True, weight_decay=0.5),
            torch.optim.SGD(_parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.5),
        ),
    ],
)
def test_optimizer_is_that_of_torch(
    config: OptimizerConfig, expected: torch.optim.Optimizer
) -> None:
    """A config builds torch's optimizer; without options, with all of torch's defaults."""
    built = config.build(_parameters(), learning_rate=0.1)

    assert type(built) is type(expected)
    assert built.defaults == expected.defaults


def test_default_schedule_is_the_warm_up_of_dacapo() -> None:
    """Every optimizer warms up from 1 % over 1000 iterations, visibly."""
    warm_up = LinearWarmUpScheduleConfig(iterations=1000, start_factor=0.01)

    assert [kind().schedule for kind in OPTIMIZERS.values()] == [warm_up] * 4


def test_kinds() -> None:
    """These are the names that experiment files use."""
    assert list(OPTIMIZERS) == ["radam", "adam", "adamw", "sgd"]
    assert list(SCHEDULES) == ["constant", "linear_warm_up", "cosine", "step", "polynomial"]


@pytest.mark.parametrize(
    "arguments", [{"betas": (0.9, 1.0)}, {"betas": (0.9,)}, {"eps": 0.0}, {"weight_decay": -1.0}]
)
def test_values_out_of_range_are_refused(arguments: dict[str, object]) -> None:
    """A config that torch would refuse or misread cannot be made."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RAdamConfig(**arguments)  # type: ignore[arg-type]


def test_nesterov_needs_momentum() -> None:
    """Looking ahead along no momentum is refused, as by torch."""
    with pytest.raises(ValueError, match="nesterov: found true; needs a momentum above 0"):
        SGDConfig(nesterov=True)

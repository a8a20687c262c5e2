from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from trainers.optimizers import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    LinearWarmUpScheduleConfig,
    PolynomialScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
)


def _warm_up_then_cosine(optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=25),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=175, eta_min=0.05),
        ],
        milestones=[25],
    )


@pytest.mark.parametrize(
    ("config", "torch_schedule", "num_iterations"),
    [
        (
            ConstantScheduleConfig(),
            lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0),
            300,
        ),
        (
            LinearWarmUpScheduleConfig(iterations=200, start_factor=0.05),
            lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.05, total_iters=200),
            300,
        ),
        (
            CosineScheduleConfig(iterations=200, final_factor=0.05),
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=200, eta_min=0.05),
            201,
        ),
        (
            CosineScheduleConfig(iterations=200, warm_up_iterations=25, final_factor=0.05),
            _warm_up_then_cosine,
            201,
        ),
        (
            StepScheduleConfig(every_iterations=40, step_factor=0.5),
            lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=40, gamma=0.5),
            300,
        ),
        (
            PolynomialScheduleConfig(iterations=200, power=0.9),
            lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total_iters=200, power=0.9),
            300,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")  # torch's SequentialLR
def test_schedule_equals_that_of_torch(
    config: ScheduleConfig,
    torch_schedule: Callable[[Optimizer], lr_scheduler.LRScheduler],
    num_iterations: int,
) -> None:
    """In every iteration the learning rate is the one that torch's scheduler sets."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch_schedule(optimizer)
    expected = []
    for _ in range(num_iterations):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()

    found = [config.factor(iteration) for iteration in range(num_iterations)]

    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("config", "factors"),
    [
        (ConstantScheduleConfig(), {0: 1.0, 1_000_000: 1.0}),
        (LinearWarmUpScheduleConfig(iterations=1000), {0: 0.01, 500: 0.505, 1000: 1.0, 9999: 1.0}),
        (CosineScheduleConfig(iterations=100), {0: 1.0, 50: 0.5, 100: 0.0, 150: 0.0}),
        (
            CosineScheduleConfig(iterations=110, warm_up_iterations=10, final_factor=0.1),
            {0: 0.01, 5: 0.505, 10: 1.0, 60: 0.55, 110: 0.1, 200: 0.1},
        ),
        (StepScheduleConfig(every_iterations=30), {0: 1.0, 29: 1.0, 30: 0.1, 60: 0.01}),
        (
            PolynomialScheduleConfig(iterations=100, power=2.0, final_factor=0.2),
            {0: 1.0, 50: 0.4, 100: 0.2, 500: 0.2},
        ),
    ],
)
def test_factors(config: ScheduleConfig, factors: dict[int, float]) -> None:
    """Schedules start, pass, end and stay where their parameters say."""
    assert {each: config.factor(each) for each in factors} == pytest.approx(factors)


def test_warm_up_must_be_shorter_than_the_whole() -> None:
    """A cosine that never begins is refused."""
    with pytest.raises(ValueError, match=r"warm_up_iterations: found 10; .* less than .*\(10\)"):
        CosineScheduleConfig(iterations=10, warm_up_iterations=10)

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from trainers.tasks import AffinitiesTaskConfig, DistanceTaskConfig, Loss, OneHotTaskConfig
from trainers.tasks.task_configs import TaskConfig

AFFINITIES = AffinitiesTaskConfig(neighborhood=((1, 0), (0, 1)))
ONE_HOT = OneHotTaskConfig(classes=("no", "yes"))
DISTANCE = DistanceTaskConfig(scale_nm=10.0)
ALL = [AFFINITIES, ONE_HOT, DISTANCE]


def _loss(config: TaskConfig) -> Loss:
    return config.build().loss


def _channels(*values: list[float]) -> torch.Tensor:
    """One sample [1, K, 1, x]."""
    return torch.tensor([[[each] for each in values]])


def test_binary_cross_entropy() -> None:
    """A logit of 0 costs ln 2 either way, one of ln 3 for the right answer ln 4/3."""
    loss = _loss(AFFINITIES).compute(
        _channels([0.0, math.log(3)], [0.0, -math.log(3)]),
        _channels([1.0, 1.0], [0.0, 1.0]),
        _channels([1.0, 1.0], [1.0, 3.0]),
    )

    expected = (math.log(2) + math.log(4 / 3) + math.log(2) + 3 * math.log(4)) / 6
    assert loss.item() == pytest.approx(expected)


def test_cross_entropy_equals_that_of_torch() -> None:
    """With equal weights in all channels it is the weighted mean of torch's cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    labels = torch.randint(4, (2, 3, 5), generator=generator)
    weight = torch.rand(2, 1, 3, 5, generator=generator)
    target = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()

    loss = _loss(ONE_HOT).compute(logits, target, weight.expand(-1, 4, -1, -1))

    of_each = cross_entropy(logits, labels, reduction="none")
    expected = (of_each * weight[:, 0]).sum() / weight.sum()
    torch.testing.assert_close(loss, expected)


def test_tanh_mean_squared_error() -> None:
    """The prediction is the tanh of the logit."""
    loss = _loss(DISTANCE).compute(
        _channels([0.0, 100.0]), _channels([0.5, 1.0]), _channels([3.0, 1.0])
    )

    assert loss.item() == pytest.approx(0.75 * 0.25)


@pytest.mark.parametrize("config", ALL)
def test_mask_does_not_change_the_size_of_the_loss(config: TaskConfig) -> None:
    """Masking half of equal voxels leaves the loss, scaling all weights too."""
    prediction, target = torch.full((1, 2, 4, 4), 0.3), torch.full((1, 2, 4, 4), 0.5)
    weight = torch.ones(1, 2, 4, 4)
    half = weight.clone()
    half[..., :2] = 0

    losses = [_loss(config).compute(prediction, target, each) for each in (weight, half, 9 * half)]

    assert losses[0].item() > 0
    torch.testing.assert_close(losses[1:], [losses[0]] * 2)


@pytest.mark.parametrize("config", ALL)
def test_nothing_to_learn_from_gives_zero(config: TaskConfig) -> None:
    """Without any weight loss and gradient are 0, not NaN."""
    logits = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)

    loss = _loss(config).compute(logits, torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    loss.backward()

    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("config", ALL)
def test_extreme_logits_stay_finite(config: TaskConfig) -> None:
    """Logits far beyond what exp can take give a finite loss and gradient."""
    logits = torch.tensor([[[[1e4]], [[-1e4]]]], requires_grad=True)

    loss = _loss(config).compute(logits, torch.tensor([[[[0.0]], [[1.0]]]]), torch.ones(1, 2, 1, 1))
    loss.backward()

    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AFFINITIES, [0.5, 0.75]),
        (ONE_HOT, [0.25, 0.75]),
        (DISTANCE, [0.0, 0.8]),
    ],
)
def test_activation(config: TaskConfig, expected: list[float]) -> None:
    """Logits 0 and ln 3 become probabilities of their own, of all classes, or a distance."""
    prediction = config.build().activation(_channels([0.0], [math.log(3)]))

    torch.testing.assert_close(prediction, _channels(expected[:1], expected[1:]))

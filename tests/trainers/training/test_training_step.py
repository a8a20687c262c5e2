"""One optimizer step: micro-batches, precision, clipping, averages."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import trainers
from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.tasks.losses import BinaryCrossEntropyLoss
from trainers.training.training_step import TrainingStep

CPU = torch.device("cpu")


def make_net(gain=1.0):
    """Two channels of two layers, in double precision where nothing may hide in rounding."""

    class Gain(nn.Module):
        def forward(self, logits):
            return logits * gain

    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 3, 3), nn.Tanh(), nn.Conv3d(3, 2, 1), Gain())


def make_batch(size=4):
    """Raw, target and weight; the samples weigh differently, and one of them nothing."""
    rng = np.random.default_rng(1)
    raw = rng.random((size, 1, 6, 6, 6), np.float32)
    target = rng.integers(0, 2, (size, 2, 4, 4, 4)).astype(np.float32)
    weight = rng.random((size, 2, 4, 4, 4), np.float32) * np.arange(size)[:, *[None] * 4]
    return raw, target, weight.astype(np.float32)


class OneOfTwins(ProcessGroup):
    """One of two ranks that have the same samples, and so find the same."""

    def __init__(self) -> None:
        super().__init__(RankInfo(world_size=2, local_size=2))


def make_step(net, group=ALONE, **settings):
    config = trainers.GunpowderTrainerConfig(
        name="test", learning_rate=1.0, **{"batch_size": 4, **settings}
    )
    step = TrainingStep(config, net, BinaryCrossEntropyLoss(), group, seed=0)
    step.begin(net, CPU)
    return step


def take(step, net, *, learning_rate=0.0, iteration=0, batch=None, optimizer=None):
    """A step of plain gradient descent."""
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=learning_rate)
    return step.take(*(batch or make_batch()), optimizer, iteration, with_first_sample=True)


def gradients(net):
    return torch.cat([each.grad.flatten() for each in net.parameters()])


def weights(net):
    return torch.cat([each.detach().flatten() for each in net.parameters()])


def loss_of_whole_batch(net, with_logits=False):
    """Without any of the code in question."""
    raw, target, weight = map(torch.from_numpy, make_batch())
    logits = net(raw)
    logits.retain_grad()
    each = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (each * weight).sum() / weight.sum()
    loss.backward()
    return (loss.item(), logits) if with_logits else loss.item()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4, None])
def test_micro_batches_give_the_gradients_of_the_whole_batch(exact, size):
    """Each counts by its share of the weights, and so does its loss."""
    net, whole = make_net(), make_net()
    expected, logits = loss_of_whole_batch(whole, with_logits=True)

    result = take(make_step(net, micro_batch_size=size, exact_across_ranks=exact), net)

    assert result.loss == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradients(net), gradients(whole))
    torch.testing.assert_close(result.first_sample.logits, logits[0].detach())
    torch.testing.assert_close(result.first_sample.gradient, logits.grad[0])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_gradient_of_a_sample_is_that_of_the_whole_batch(precision):
    """Whatever the ranks' mean and the loss's scale make of it on the way: twins have half each."""
    net, alone = make_net(), make_net()
    expected = take(make_step(alone, precision=precision), alone)

    result = take(make_step(net, OneOfTwins(), precision=precision, batch_size=8), net)

    assert result.loss == expected.loss
    half = expected.first_sample.gradient / 2
    torch.testing.assert_close(result.first_sample.gradient, half)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.half)])
def test_low_precision_is_for_the_network_alone(precision, dtype):
    """Logits, loss and gradients are float32, and near to those of float32 throughout."""
    net, whole = make_net(), make_net()
    expected, logits = loss_of_whole_batch(whole, with_logits=True)
    seen = []
    net[0].register_forward_hook(lambda module, given, result: seen.append(result.dtype))

    result = take(make_step(net, precision=precision, micro_batch_size=2), net)

    assert seen == [dtype, dtype]
    assert result.first_sample.logits.dtype == torch.float32
    assert gradients(net).dtype == torch.float32
    assert result.loss == pytest.approx(expected, rel=0.01)
    torch.testing.assert_close(gradients(net), gradients(whole), rtol=0.1, atol=2e-3)
    torch.testing.assert_close(result.first_sample.gradient, logits.grad[0], rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_long_gradients_are_shortened(precision):
    """To the length that is allowed, of all weights together, whatever the loss is scaled by."""
    net, free = make_net(), make_net()
    take(make_step(free, precision=precision), free)
    length = gradients(free).norm().item()

    take(make_step(net, precision=precision, max_gradient_norm=length / 2), net)
    torch.testing.assert_close(gradients(net), gradients(free) / 2, rtol=1e-4, atol=0)

    take(make_step(net, precision=precision, max_gradient_norm=2 * length), net)
    torch.testing.assert_close(gradients(net), gradients(free), rtol=1e-6, atol=0)


def test_averages_follow_the_weights():
    """The first step's weights are the first average; then what is kept is the decay's share."""
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    step = make_step(net, ema_decay=0.75)
    assert {each.dtype for each in step.state_dict()["averaged_weights"].values()} == {
        torch.float32,
        torch.int64,
    }

    expected = None
    for iteration in range(4):
        take(step, net, learning_rate=0.5, iteration=iteration)
        now = copy.deepcopy(net.state_dict())
        if expected is None:
            expected = now
        expected = {
            name: 0.75 * expected[name] + 0.25 * each if each.is_floating_point() else each
            for name, each in now.items()
        }

    averages = step.state_dict()["averaged_weights"]
    assert list(averages) == list(net.state_dict())
    torch.testing.assert_close(averages, expected)
    assert not torch.equal(averages["0.weight"], net.get_parameter("0.weight"))
    assert averages["1.num_batches_tracked"] == 4


def test_overflow_costs_one_step_and_halves_the_scale():
    """The weights stay, the scale of the loss shrinks until gradients fit, and then it goes on."""
    net = make_net(gain=2000.0)
    step = make_step(net, precision="fp16", max_gradient_norm=1.0, ema_decay=0.5)
    before, skipped = weights(net), 0

    while torch.equal(weights(net), before):
        take(step, net, learning_rate=0.01, iteration=skipped)
        skipped += 1
        assert skipped < 20

    assert skipped > 1
    assert step.state_dict()["loss_scale"]["scale"] == 65536 * 0.5 ** (skipped - 1)
    assert torch.isfinite(weights(net)).all()


def test_a_step_with_its_state_goes_on_as_if_nothing_had_been():
    """Scale, its history, and averages come back exactly; what they were read from may go."""
    settings = {"precision": "fp16", "ema_decay": 0.9, "micro_batch_size": 2}
    net, step = make_net(gain=2000.0), None
    step = make_step(net, **settings)
    optimizer = torch.optim.Adam(net.parameters())
    for iteration in range(6):
        take(step, net, iteration=iteration, optimizer=optimizer)
    state = copy.deepcopy(step.state_dict())

    resumed_net = copy.deepcopy(net)
    resumed_optimizer = torch.optim.Adam(resumed_net.parameters())
    resumed_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed = make_step(make_net(), **settings)
    resumed.load_state_dict(state)
    for tensor in state["averaged_weights"].values():
        tensor.zero_()
    resumed.begin(resumed_net, CPU)

    for iteration in range(6, 10):
        take(step, net, iteration=iteration, optimizer=optimizer)
        take(resumed, resumed_net, iteration=iteration, optimizer=resumed_optimizer)
    assert torch.equal(weights(resumed_net), weights(net))
    one, other = step.state_dict(), resumed.state_dict()
    assert one["loss_scale"] == other["loss_scale"]
    assert one["loss_scale"]["scale"] < 65536
    assert one["loss_scale"]["_growth_tracker"] > 0
    for name, average in one["averaged_weights"].items():
        assert torch.equal(average, other["averaged_weights"][name])


def test_what_there_is_none_of_is_not_stored():
    """A plain step has no state, and takes none."""
    step = make_step(make_net())

    assert step.state_dict() == {}
    step.load_state_dict({"iteration": 5})


@pytest.mark.parametrize("exact", [False, True])
def test_how_arrays_lie_in_memory_does_not_matter(exact):
    """Transposed ones, as mirrored and turned samples are, give the same bits."""
    net, other = make_net(), make_net()
    take(make_step(net, exact_across_ranks=exact), net)

    turned = tuple(np.asfortranarray(each) for each in make_batch())
    take(make_step(other, exact_across_ranks=exact), other, batch=turned)

    assert torch.equal(gradients(other), gradients(net))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_is_not_finite_changes_nothing(exact, precision):
    """Weights, running statistics, averages, optimizer and scale stay; then all goes on."""
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    step = make_step(net, ema_decay=0.9, exact_across_ranks=exact, precision=precision)
    optimizer = torch.optim.Adam(net.parameters())
    take(step, net, optimizer=optimizer)

    def state():
        return copy.deepcopy((net.state_dict(), optimizer.state_dict(), step.state_dict()))

    before, weights_before = state(), weights(net)
    raw, target, weight = make_batch()
    raw[2, 0, 1] = np.nan
    result = take(step, net, iteration=1, optimizer=optimizer, batch=(raw, target, weight))

    assert result.non_finite.part == "loss"
    assert result.non_finite.micro_batches == ((2,) if exact else (0,))
    torch.testing.assert_close(state(), before, rtol=0, atol=0)
    assert take(step, net, iteration=2, optimizer=optimizer).non_finite is None
    assert not torch.equal(weights(net), weights_before)


def test_gradients_alone_may_be_infinite():
    """A finite loss does not hide them; large ones whose norm overflows are taken as they are."""
    net = make_net()
    hook = net[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    result = take(make_step(net), net)
    assert result.non_finite.part == "gradients"
    assert "0.weight" in result.non_finite.description

    hook.remove()
    net[0].weight.register_hook(lambda gradient: torch.full_like(gradient, 1e38))
    assert take(make_step(net), net).non_finite is None


def test_an_overflow_that_no_scale_prevents_is_a_failure():
    """The search for a scale ends: gradients are infinite whatever the loss is multiplied by."""
    net = make_net()
    net[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    step = make_step(net, precision="fp16")
    results = [take(step, net, iteration=iteration) for iteration in range(40)]

    searched = [result.non_finite is None for result in results]
    assert searched == sorted(searched, reverse=True)
    assert 20 < sum(searched) < 40
    assert results[-1].non_finite.part == "gradients"

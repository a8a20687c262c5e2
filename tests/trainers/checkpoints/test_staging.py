"""A state in memory of its own, laid out as the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer
from trainers.checkpoints.device_copy import WeightWatch
from trainers.checkpoints.staging import Staging

IDENTITY = "0123456789abcdef"


def tensors_in(staging: Staging, state: Any) -> dict[str, torch.Tensor]:
    staged = staging.stage(state)
    staged.wait()
    return safetensors.torch.load(bytes(staged.content[: staged.num_bytes]))


def test_the_public_library_reads_it() -> None:
    """Weights can be taken out of a checkpoint without this project."""
    loaded = tensors_in(Staging(), {"flag": torch.tensor(True), "weight": torch.ones(2, 3)})

    assert loaded["weight"].tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert loaded["flag"].item() is True


def test_it_is_a_copy() -> None:
    """Training may go on and change the tensors."""
    weight = torch.ones(3)
    staged = Staging().stage({"weight": weight})

    weight.zero_()

    assert safetensors.torch.load(bytes(staged.content[: staged.num_bytes]))["weight"].sum() == 3


def test_a_state_may_grow_and_shrink() -> None:
    """Each state is staged whole, whatever the one before was like."""
    staging = Staging()
    small = {"a": torch.full((3,), 1.0), "step": 1}
    large = {"a": torch.full((3,), 2.0), "b": torch.full((70_000,), 3.0)}
    odd = {"a": torch.full((3,), 4, dtype=torch.uint8)}
    states: list[dict[str, Any]] = [small, large, small, odd, large]
    for state in states:
        loaded = tensors_in(staging, state)

        assert {name: loaded[name].tolist() for name in loaded} == {
            name: value.tolist() for name, value in state.items() if name != "step"
        }


def test_room_is_made_once() -> None:
    """Memory that was made ready is what states of that layout are staged in."""
    staging = Staging()
    state = {"weight": torch.ones(50_000)}
    staging.make_room(staging.layout_of(state))

    first = staging.stage(state).content
    second = staging.stage({"weight": torch.zeros(50_000)}).content

    assert first.obj is second.obj


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_on_while_its_state_is_saved(tmp_path: Path) -> None:
    """Whatever the steps after it do, what is saved is the state as it was, bit for bit."""
    model = torch.nn.Sequential(*(torch.nn.Linear(2000, 2000) for _ in range(10))).cuda()
    count = torch.zeros(1000, device="cuda")
    model.register_buffer("count", count)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        count.add_(1)
        optimizer.zero_grad()
        model(torch.randn(64, 2000, device="cuda")).square().mean().backward()
        optimizer.step()

    def state() -> dict[str, Any]:
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}

    store = CheckpointStore(tmp_path / "checkpoints", fingerprint=IDENTITY)
    saver = AsyncCheckpointer(store, optimizer=optimizer)
    step()
    saver.prepare(state())
    for iteration in range(3):
        step()
        before = {name: each.clone() for name, each in model.state_dict().items()}
        averages = [each["exp_avg"].clone() for each in optimizer.state.values()]
        saver.start(iteration, state())
        for _ in range(3):
            step()
        saver.wait()

        saved = (
            CheckpointReader(tmp_path / "checkpoints", fingerprint=IDENTITY).load(iteration).state
        )

        assert all(saved["model"][name].equal(each.cpu()) for name, each in before.items())
        for index, average in enumerate(averages):
            assert saved["optimizer"]["state"][index]["exp_avg"].equal(average.cpu())
    saver.close()


class Normalizing(torch.nn.Linear):
    """Sets its weights in each forward pass, as forced weight normalization does."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.weight /= self.weight.norm()
        return super().forward(values)


@pytest.mark.parametrize(("kind", "expected"), [(torch.nn.Linear, True), (Normalizing, False)])
def test_it_is_learned_whether_only_steps_change_weights(
    kind: type[torch.nn.Linear], expected: bool
) -> None:
    """Known once the pass between two steps was seen; until then they count as changing."""
    model = kind(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    watch = WeightWatch(optimizer)
    known = []

    for _ in range(3):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        known.append(watch.only_steps_change_weights)

    assert known == [False, expected, expected]


def test_what_is_trained_is_found_not_finite() -> None:
    """In weights or in the optimizer's state; a mask with infinities is neither."""
    model = torch.nn.Linear(3, 2)
    model.register_buffer("mask", torch.tensor([float("-inf")]))
    frozen = torch.nn.Parameter(torch.tensor([float("inf")]), requires_grad=False)
    optimizer = torch.optim.Adam([*model.parameters(), frozen])
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    staging = Staging(optimizer)

    def is_finite() -> bool:
        state = {"model": model.state_dict(), "frozen": frozen, "optimizer": optimizer.state_dict()}
        return staging.stage(state).is_finite()

    assert is_finite()
    optimizer.state[model.bias]["exp_avg_sq"][1] = float("inf")
    assert not is_finite()
    optimizer.state[model.bias]["exp_avg_sq"][1] = 3e38
    model.weight.data.fill_(3e38)  # their sum overflows
    assert is_finite()
    model.weight.data[0, 0] = float("nan")
    assert not is_finite()

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.architectures import CustomArchitectureConfig
from trainers.architectures.model import Model, build_model
from trainers.errors import ConfigError

MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, in_channels, out_channels=3, crop=0):
        super().__init__()
        self.convolution = torch.nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.dropout = torch.nn.Dropout(0.5)
        self.crop = crop

    def forward(self, raw):
        cropped = raw[:, :, self.crop : raw.shape[2] - self.crop]
        return self.dropout(self.convolution(cropped))

class Pair(Net):
    def forward(self, raw):
        return raw, raw

def no_module(in_channels):
    return 5
"""


@pytest.fixture(autouse=True)
def own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's, `own_nets`, that can be imported."""
    (tmp_path / "own_nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def _build(**arguments: Any) -> Model:
    config = CustomArchitectureConfig(input_shape=(8, 8), **arguments)
    return build_model(
        config, num_channels=3, activation=torch.nn.Identity(), in_channels=1, seed=0
    )


def test_module_that_returns_the_channels_of_the_task() -> None:
    """Without `out_channels` nothing is put behind the user's module."""
    model = _build(import_path="own_nets:Net")

    assert tuple(model(torch.zeros(2, 1, 8, 8)).shape) == (2, 3, 8, 8)
    assert isinstance(model.head, torch.nn.Identity)
    assert model.get_submodule("architecture.dropout").training


def test_module_that_returns_features() -> None:
    """With `out_channels` a 1 x 1 convolution makes the channels of the task."""
    model = _build(
        import_path="own_nets:Net",
        arguments={"out_channels": 5, "crop": 2},
        out_channels=5,
        output_shape=(4, 8),
    )

    assert model.output_shape == (4, 8)
    assert tuple(model(torch.zeros(2, 1, 8, 8)).shape) == (2, 3, 4, 8)


def test_seed_determines_the_weights_of_a_user_s_module() -> None:
    """Initialization and trial run leave the global random state alone and depend on the seed."""
    state = torch.get_rng_state()

    first, again = (_build(import_path="own_nets:Net").state_dict() for _ in range(2))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"import_path": "own_nets:Net", "arguments": {"crop": 1}},
            "own_nets:Net turns (1, 1, 8, 8) into (1, 3, 6, 8); "
            "must turn it into (1, 3, 8, 8): samples, the config's out_channels or else those of "
            "the task, the config's output_shape",
        ),
        (
            {"import_path": "own_nets:Pair"},
            "own_nets:Pair turns (1, 1, 8, 8) into tuple; must turn it into (1, 3, 8, 8)",
        ),
        (
            {"import_path": "own_nets:Net", "arguments": {"crop": 4}},
            "own_nets:Net fails on zeros of (1, 1, 8, 8): ",
        ),
        (
            {"import_path": "own_nets:Net", "arguments": {"width": 4}},
            "cannot make own_nets:Net with in_channels=1 and arguments {'width': 4}: ",
        ),
        (
            {"import_path": "own_nets:no_module"},
            "own_nets:no_module makes a int; must make a torch.nn.Module",
        ),
        ({"import_path": "own_nets:Nett"}, "has no 'Nett'; it has Net, Pair, no_module, torch"),
        ({"import_path": "no_such_nets:Net"}, "cannot import 'no_such_nets'"),
    ],
)
def test_module_that_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    """What the user's module does wrong is said before training begins."""
    with pytest.raises(ConfigError) as caught:
        _build(**arguments)

    assert message in str(caught.value)


def test_import_path_has_a_form() -> None:
    """A path without a name behind a colon is refused when the config is made."""
    with pytest.raises(ValueError, match=r"must have the form package.module:Name; found 'net.py'"):
        CustomArchitectureConfig(input_shape=(8, 8), import_path="net.py")


@pytest.mark.parametrize("output_shape", [(7, 8), (10, 8), (8, 8, 8)])
def test_output_lies_in_the_middle(output_shape: tuple[int, ...]) -> None:
    """An output that is off by half a voxel, larger, or of other dimensions is refused."""
    with pytest.raises(ValueError, match=r"must lie in the middle of input_shape \[8, 8\]"):
        CustomArchitectureConfig(
            input_shape=(8, 8), import_path="own_nets:Net", output_shape=output_shape
        )

"""What a checkpoint may hold."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from trainers.checkpoints.staging import Staging
from trainers.checkpoints.state_decoder import check_tree_structure, decode
from trainers.checkpoints.state_encoder import StateEncoder


def there_and_back(state: Any) -> Any:
    staged = Staging().stage(state)
    tensors = safetensors.torch.load(bytes(staged.content[: staged.num_bytes]))
    skeleton = json.loads(json.dumps(staged.tree_structure))
    check_tree_structure(skeleton, tensors)
    return decode(skeleton, tensors.__getitem__)


@pytest.mark.parametrize(
    "state",
    [
        {},
        [],
        (),
        None,
        {"betas": (0.9, 0.999), "params": [0, 1], "foreach": None, "nesterov": True},
        {0: "int", "0": "str", -7: {1: {2: []}}},
        {"z": 1, "a": 2, "": 3},
        {"float": "nan", "dict": [1], "tuple": {"tensor": "x"}},
        [1, 1.0, True, 0.1 + 0.2, 5e-324, -0.0, math.inf, -math.inf],
        [2**128 + 1, -(2**63), "é\n\x00'\""],
        [(), [()], ([],)],
    ],
)
def test_plain_values_come_back_exactly(state: Any) -> None:
    """Types, keys, order and every bit of a number survive."""
    assert repr(there_and_back(state)) == repr(state)


def test_nan_comes_back() -> None:
    """Not a number stays not a number."""
    assert math.isnan(there_and_back({"loss": math.nan})["loss"])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        torch.tensor([1.5, -0.0, math.nan, math.inf], dtype=torch.bfloat16),
        torch.tensor([2**53 + 1, -(2**63)]),
        torch.tensor([2**64 - 1], dtype=torch.uint64),
        torch.arange(5, dtype=torch.uint8),
        torch.tensor([1 + 2j], dtype=torch.complex64),
        torch.arange(24.0).view(2, 3, 4).permute(2, 0, 1)[::2],
        torch.arange(3.0).expand(4, 3),
        torch.nn.Parameter(torch.ones(2, dtype=torch.float64)),
    ],
    ids=str,
)
def test_tensors_come_back_bit_for_bit(tensor: torch.Tensor) -> None:
    """Any dtype, shape and stride survives, as a contiguous tensor without a gradient."""
    loaded = there_and_back([tensor])[0]

    assert (loaded.dtype, loaded.shape, loaded.requires_grad) == (tensor.dtype, tensor.shape, False)
    bits = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    assert loaded.contiguous().reshape(-1).view(torch.uint8).equal(bits)


def test_tensors_that_share_memory_come_back_apart() -> None:
    """Tied weights and overlapping views are both saved whole."""
    weight = torch.arange(6.0)

    loaded = there_and_back({"a": weight, "b": weight, "c": weight[1:4]})
    loaded["a"][:] = 0

    assert loaded["b"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert loaded["c"].tolist() == [1.0, 2.0, 3.0]


def test_keys_that_look_alike_stay_apart() -> None:
    """Slashes in keys, 0 beside "0", and the name that safetensors reserves do no harm."""
    state = {
        "a/b": torch.tensor(1),
        "a": {"b": torch.tensor(2)},
        0: torch.tensor(3),
        "0": torch.tensor(4),
        "__metadata__": torch.tensor(5),
    }

    loaded = there_and_back(state)

    assert [loaded["a/b"], loaded["a"]["b"], loaded[0], loaded["0"], loaded["__metadata__"]] == [
        *range(1, 6)
    ]


def test_an_optimizer_goes_on_from_its_state() -> None:
    """The state of model and optimizer can be loaded, and the next step is the same."""

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.RAdam(model.parameters(), betas=(0.8, 0.9))
    step(model, optimizer)
    loaded = there_and_back({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    other = torch.nn.Linear(3, 2)
    other_optimizer = torch.optim.RAdam(other.parameters())
    other.load_state_dict(loaded["model"])
    other_optimizer.load_state_dict(loaded["optimizer"])
    optimizer.zero_grad()
    step(model, optimizer)
    step(other, other_optimizer)

    assert other.weight.equal(model.weight)
    assert other_optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    assert type(there_and_back(OrderedDict(a=1))) is dict


Point = namedtuple("Point", "x")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"rng": {"keys": np.zeros(2)}}, "state/rng/keys: found a numpy.ndarray,"),
        ({"rates": [0.1, np.float64(0.2)]}, "state/rates/1: found a numpy.float64,"),
        ({"blob": b"x"}, "state/blob: found a builtins.bytes,"),
        ({"point": Point(1)}, "state/point: found a test_state_encoder.Point,"),
        ({"by": {(1, 2): 0}}, "state/by: found a key (1, 2) of type builtins.tuple,"),
        ({"by": {True: 0}}, "state/by: found a key True of type builtins.bool,"),
        ({"w": torch.zeros(1, dtype=torch.complex128)}, "state/w: found a tensor of torch.compl"),
        (
            {"w": torch.zeros(2, 2).to_sparse()},
            "state/w: found a tensor of torch.float32, layout torch.sparse_c",
        ),
        ({"w": torch.zeros(1, device="meta")}, "layout torch.strided, on meta,"),
    ],
)
def test_anything_else_is_refused_by_name(state: Any, message: str) -> None:
    """What cannot be saved exactly is not saved at all: path, type and remedy are named."""
    with pytest.raises(TypeError) as caught:
        StateEncoder().encode(state)

    assert message in str(caught.value).replace("tests.trainers.checkpoints.", "")
    assert "allowed: dict (keys str or int), list, tuple, torch.Tensor, int, float" in str(
        caught.value
    )


def test_a_second_state_may_be_built_otherwise() -> None:
    """What is remembered of one state changes nothing in the next."""
    encoder = StateEncoder()
    encoder.encode({"a": {"b": torch.ones(1)}, "c": torch.ones(1)})

    skeleton, tensors = encoder.encode({"a": torch.ones(2), "c": [torch.ones(3)], "a/b": 1})

    assert list(tensors) == ["a", "c/0"]
    assert skeleton == {"dict": [["a", {"tensor": "a"}], ["c", [{"tensor": "c/0"}]], ["a/b", 1]]}


@pytest.mark.parametrize(
    "skeleton",
    [
        {},
        {"list": []},
        {"dict": {}},
        {"dict": [["a"]]},
        {"dict": [[1.5, 0]]},
        {"dict": [[True, 0]]},
        {"dict": [], "tuple": []},
        {"float": "1.0"},
        {"tensor": 5},
        [{"object": "os.system"}],
    ],
)
def test_other_skeletons_are_refused(skeleton: Any) -> None:
    """Nothing is guessed about JSON that this codec did not make."""
    with pytest.raises(ValueError, match=r"does not describe|is not an entry"):
        check_tree_structure(skeleton, [])


@pytest.mark.parametrize(
    ("skeleton", "message"),
    [
        ([{"tensor": "a"}, {"tensor": "c"}], "'c' is missing, or used twice"),
        ([{"tensor": "a"}, {"tensor": "a"}], "'a' is missing, or used twice"),
        ([{"tensor": "a"}], "'b' belongs to no part of the state"),
    ],
)
def test_each_tensor_has_one_place(skeleton: Any, message: str) -> None:
    """A skeleton uses every tensor of its file once."""
    with pytest.raises(ValueError, match=message):
        check_tree_structure(skeleton, ["a", "b"])

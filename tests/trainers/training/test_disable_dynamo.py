"""Optimizers do not load torch's compiler, and do what they did."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys

import torch

from trainers.training.disable_dynamo import disable_dynamo

if {spare}:
    disable_dynamo()
torch.manual_seed(0)
layer = torch.nn.Linear(3, 2)
optimizer = torch.optim.{optimizer}(layer.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print([value.hex() for value in layer.weight.flatten().tolist()], "torch._dynamo" in sys.modules)
"""


def outcome(optimizer, *, spare):
    """The weights after some steps, and whether the compiler was loaded."""
    program = PROGRAM.format(optimizer=optimizer, spare=spare)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights, _, loaded = done.stdout.strip().rpartition(" ")
    return weights, loaded == "True"


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "RAdam", "SGD"])
def test_same_steps_without_the_compiler(optimizer):
    """The weights have the same bits, and the compiler is loaded only without our doing."""
    as_torch_has_it, loaded = outcome(optimizer, spare=False)
    assert loaded
    assert outcome(optimizer, spare=True) == (as_torch_has_it, False)

"""Nodes that fail runs: what a job does there, and that the experiment leaves them."""

import json
from pathlib import Path

import pytest

from launcher.job.bad_nodes import NodeFailure, note_node_failure
from scripts.workloads.processes import is_running
from tests.slurm.workplace import Workplace

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

FAULTY = """\
import os
import pathlib
import time

import torch

BAD_NODES = pathlib.Path({file!r})


class SleepingNet(torch.nn.Module):
    def __init__(self, in_channels, seconds, dropout):
        super().__init__()
        self.layer = torch.nn.Conv3d(in_channels, 1, 1)
        self.calls = 0

    def forward(self, raw):
        self.calls += 1
        if self.calls > 3 and os.environ.get("SLURMD_NODENAME") in BAD_NODES.read_text().split():
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        return self.layer(raw)
"""
NVIDIA_SMI = """\
#!/bin/sh
{trouble}
for gpu in 0 ${{alone:-1}}; do
  [ "$gpu" != yes ] || break
  echo "GPU $gpu: NVIDIA H200 (UUID: GPU-0000000$gpu-0000-0000-0000-000000000000)"
done
"""


def nodes_of(workplace: Workplace, name: str = "naps") -> list[str]:
    """The nodes of a run's attempts."""
    return [each["node"] for each in workplace.events(name) if each["event"] == "launched"]


def histories(workplace: Workplace) -> dict[str, dict]:
    found = json.loads(workplace.launch("nodes", "experiments", "--json"))
    return {each["node"]: each for each in found}


def write_nvidia_smi(workplace: Workplace, trouble: str) -> None:
    """Put one first in the PATH of jobs."""
    programs = workplace.folder / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI.format(trouble=trouble))
    (programs / "nvidia-smi").chmod(0o755)
    config = workplace.folder / "cluster_configs" / "sandbox.yaml"
    config.write_text(f"{config.read_text()}setup: ['export PATH={programs}:$PATH']\n")


def bad_nodes(workplace: Workplace, *names: str) -> Path:
    file = workplace.folder / "bad.txt"
    file.write_text(" ".join(names))
    (workplace.folder / "naps.py").write_text(FAULTY.format(file=str(file)))
    return file


def test_a_node_that_fails_twice_is_left_and_may_be_forgiven(workplace):
    """The third attempt runs elsewhere, as do later jobs, until the node is forgotten."""
    file = bad_nodes(workplace, "n1")
    workplace.submit("num_iterations=20")
    workplace.wait_for_end()

    assert workplace.state().status == "finished", workplace.story()
    first, second, third = nodes_of(workplace)
    assert (first, second) == ("n1", "n1")
    assert third != "n1"
    assert workplace.state().attempts == {"node_failure": 2, "finished": 1}
    assert histories(workplace)["n1"]["failures"] == "GPU fault 2"
    assert histories(workplace)["n1"]["is_avoided"]
    assert "bad nodes:     n1" in workplace.launch("explain", "naps")

    report = workplace.submit("num_iterations=20", "sweep.seed=[7]")
    workplace.wait_for_end("seed-7")
    assert any("not on n1" in notice for notice in report["notices"])
    assert nodes_of(workplace, "seed-7") != ["n1"]

    file.write_text("")
    workplace.launch("nodes", "experiments", "--forget", "n1")
    workplace.submit("num_iterations=20", "sweep.seed=[8]")
    workplace.wait_for_end("seed-8")
    assert nodes_of(workplace, "seed-8") == ["n1"]
    assert histories(workplace) == {}


def test_a_node_with_fewer_gpus_than_the_job_got(sandbox, workplace):
    """A run of two GPUs does not wait there, nor use the CPU: it goes to another node."""
    write_nvidia_smi(workplace, '[ "$SLURMD_NODENAME" != n1 ] || alone=yes')
    workplace.submit("num_iterations=20", "resources.gpus=2", "architecture.arguments.seconds=0")
    sandbox.wait_for(lambda: workplace.state().status == "finished", 120)

    assert "n1" not in nodes_of(workplace)
    assert "has 1 GPUs to give, and the run needs 2" in histories(workplace)["n1"]["reason"]


def test_a_hanging_nvidia_smi(workplace):
    """It is given up after a while, and the run starts with Slurm's own names of the GPUs."""
    write_nvidia_smi(workplace, "sleep 600")
    workplace.submit("num_iterations=20", "architecture.arguments.seconds=0")
    workplace.wait_for_end()

    assert workplace.state().attempts == {"finished": 1}, workplace.story()
    assert histories(workplace) == {}


def test_a_job_that_was_placed_on_a_bad_node_trains_nothing_there(sandbox, workplace):
    """As when another run found out meanwhile: the pack is submitted again, away from the node."""
    workplace.submit("num_iterations=2000")
    workplace.wait_for_iteration(10)
    (node,) = nodes_of(workplace)
    job = workplace.job()
    supervisor = workplace.supervisor_pid()
    sandbox.run("scontrol", "requeuehold", job)
    sandbox.wait_for(lambda: not is_running(supervisor))
    for _ in range(2):
        note_node_failure(workplace.experiment, NodeFailure(node=node, kind="hang"))

    sandbox.run("scontrol", "release", job)

    sandbox.wait_for(lambda: workplace.launches() == 2, 120)
    assert nodes_of(workplace)[1] != node
    assert workplace.job() != job
    assert sandbox.details(workplace.job())["ExcNodeList"] == node


def test_a_lost_node_is_noted(sandbox, workplace):
    """Slurm says so in its records; once is not enough to avoid it."""
    workplace.submit("num_iterations=2000")
    workplace.wait_for_iteration(10)
    (node,) = nodes_of(workplace)

    sandbox.kill_slurmd(node)

    sandbox.wait_for(lambda: workplace.launches() == 2, 120)
    assert histories(workplace)[node]["failures"] == "lost 1"
    assert not histories(workplace)[node]["is_avoided"]

import os

import attrs
import pytest

from launcher.job.node import allocated_machine
from launcher.job.pack import SlurmTerms

TERMS = SlurmTerms(
    cluster="slurm",
    partition="gpu",
    time_limit_s=3600,
    signal_lead_s=90,
    grace_s=30.0,
    may_requeue=True,
    accounting=True,
    parameters={},
)


@pytest.mark.parametrize(
    ("environment", "memory_gb"),
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4),
        ({"SLURM_MEM_PER_CPU": "2048"}, 8),
        ({"SLURM_MEM_PER_GPU": "3072", "CUDA_VISIBLE_DEVICES": "0,1"}, 6),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({}, None),
    ],
)
def test_the_memory_of_a_job_on_a_node(monkeypatch, tmp_path, environment, memory_gb):
    """In whichever way it was asked for; `--mem=0` and no option at all give no number."""
    monkeypatch.setenv("PATH", str(tmp_path))

    machine = allocated_machine({"SLURM_CPUS_ON_NODE": "4", **environment}, TERMS)

    assert machine.memory_gb == memory_gb


def test_memory_that_nobody_asked_for_is_not_divided():
    """What Slurm gives a job by default says nothing of what its runs may use."""
    environment = {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_CPU": "100"}

    assert (
        allocated_machine(environment, attrs.evolve(TERMS, divides_memory=False)).memory_gb is None
    )


def test_a_job_owes_gpus_to_its_runs(monkeypatch, tmp_path):
    """By the variable that Slurm has set: with AMD's, a run gets that one, too."""
    monkeypatch.setenv("PATH", str(tmp_path))

    machine = allocated_machine({"ROCR_VISIBLE_DEVICES": "4,5"}, TERMS)

    assert (machine.gpus, machine.gpu_variable) == (("4", "5"), "ROCR_VISIBLE_DEVICES")
    assert machine.owes_gpus
    assert machine.is_pinned == (len(os.sched_getaffinity(0)) == len(machine.cores))

"""Jobs that ask for GPUs and memory in other ways than by default, on a real Slurm."""

import os

import pytest

from tests.slurm.test_jobs import QUICK, write_cluster

pytestmark = pytest.mark.slurm

NVIDIA_SMI = """\
#!/bin/sh
[ "$1" = -L ] || exit 0
for gpu in 0 1; do
  echo "GPU $gpu: NVIDIA H200 (UUID: GPU-0000000$gpu-0000-0000-0000-000000000000)"
done
"""


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"gpu_request": "gres", "memory": "per-cpu"}, {"MinMemoryCPU": "512M"}),
        ({"memory": "none"}, {"MinMemoryCPU": "100M"}),
        ({"sbatch": {"mem-per-cpu": "200M"}}, {"MinMemoryCPU": "200M"}),
    ],
)
def test_gpus_and_memory_by_other_options(sandbox, workplace, fields, asked):
    """Both runs train side by side, each with a GPU; Slurm's default memory is not divided."""
    sandbox.configure()
    write_cluster(workplace, **fields)
    workplace.submit(*QUICK, "sweep.seed=[1, 2]", "resources.cpus=2", cluster="own")
    for name in ("seed-1", "seed-2"):
        workplace.wait_for_end(name)

    details = sandbox.details(workplace.job("seed-1"))
    assert {name: details.get(name) for name in asked} == asked
    gpus = [
        event["gpus"]
        for name in ("seed-1", "seed-2")
        for event in workplace.events(name)
        if event["event"] == "launched"
    ]
    assert sorted(gpus) == [["0"], ["1"]]


def test_whole_nodes_whose_gpus_slurm_does_not_know_of(sandbox, workplace):
    """Nothing is asked for but the node, and the runs have the GPUs that the driver lists."""
    sandbox.configure()
    programs = workplace.folder / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI)
    (programs / "nvidia-smi").chmod(0o755)
    write_cluster(
        workplace,
        partition="preemptible",
        gpus_per_node=2,
        gpu_request="none",
        environment={"PATH": f"{programs}:{os.environ['PATH']}"},
    )
    workplace.submit(*QUICK, "resources.gpus=2", "trainer.batch_size=4", cluster="own")
    workplace.wait_for_end()

    assert workplace.state().attempts == {"finished": 1}, workplace.story()
    details = sandbox.details(workplace.job())
    assert details["OverSubscribe"] == "NO"
    assert "TresPerNode" not in details
    (launched,) = [event for event in workplace.events() if event["event"] == "launched"]
    assert [gpu[:12] for gpu in launched["gpus"]] == ["GPU-00000000", "GPU-00000001"]

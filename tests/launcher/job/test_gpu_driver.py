import os

import pytest

from launcher.job import gpu_driver
from launcher.job.gpu_driver import (
    FoundGpus,
    allocated_gpus,
    amd_gpus,
    exclusive_gpus,
    listed_gpus,
    nvidia_smi,
    visible_gpus,
)

TWO_GPUS = """\
GPU 0: NVIDIA A40 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
GPU 1: NVIDIA A40 (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)
"""
FIRST, SECOND = (
    "GPU-aaaa1111-0000-0000-0000-000000000000",
    "GPU-bbbb2222-0000-0000-0000-000000000000",
)
DIVIDED_GPU = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
  MIG 3g.71gb     Device  0: (UUID: MIG-c0ffee00-0000-0000-0000-000000000000)
  MIG 3g.71gb     Device  1: (UUID: MIG-c0ffee01-0000-0000-0000-000000000000)
"""


@pytest.fixture
def write_nvidia_smi(tmp_path, monkeypatch):
    """Make a shell script the first `nvidia-smi` in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(script):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


@pytest.fixture
def amd_node(tmp_path, monkeypatch):
    """A machine with AMD's driver: two CPUs and four GPUs, and no `nvidia-smi`."""
    nodes = tmp_path / "nodes"
    for number, gpu_id in enumerate(["0", "0", "51110", "12", "28", "77"]):
        (nodes / str(number)).mkdir(parents=True)
        (nodes / str(number) / "gpu_id").write_text(f"{gpu_id}\n")
    monkeypatch.setattr(gpu_driver, "_KFD_NODES", nodes)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("listing", "cuda_visible_devices", "expected"),
    [
        ("", None, ()),
        (TWO_GPUS, None, (FIRST, SECOND)),
        (TWO_GPUS, "1,0", (SECOND, FIRST)),
        (TWO_GPUS, "1", (SECOND,)),
        (TWO_GPUS, "", ()),
        (TWO_GPUS, "-1", ()),
        (TWO_GPUS, "0,7,1", (FIRST,)),
        (TWO_GPUS, "GPU-bbbb", (SECOND,)),
        (
            DIVIDED_GPU,
            None,
            (
                "MIG-c0ffee00-0000-0000-0000-000000000000",
                "MIG-c0ffee01-0000-0000-0000-000000000000",
            ),
        ),
        (DIVIDED_GPU, "MIG-c0ffee01", ("MIG-c0ffee01-0000-0000-0000-000000000000",)),
    ],
)
def test_gpus_that_may_be_used(listing, cuda_visible_devices, expected):
    """CUDA_VISIBLE_DEVICES chooses among those that nvidia-smi lists, as it does in CUDA."""
    assert visible_gpus(listing, cuda_visible_devices) == expected


def test_a_hanging_nvidia_smi_is_not_waited_for(write_nvidia_smi, caplog):
    """It is killed with what it has started, and its machine has no names of GPUs to give."""
    write_nvidia_smi("sleep 600")

    assert nvidia_smi(timeout_s=0.5) == ""
    assert "no answer within 0.5 s" in caplog.text


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("sleep 600", ("0", "1")),
        ("echo 'Unable to determine the device handle for GPU 0'; exit 9", ("0", "1")),
        (f"cat <<'E'\n{TWO_GPUS}E", (FIRST, SECOND)),
        (f"cat <<'E'\n{TWO_GPUS.splitlines()[0]}\nE", (FIRST,)),
    ],
    ids=["hangs", "fails", "lists all", "lists fewer"],
)
def test_gpus_of_a_slurm_job(write_nvidia_smi, monkeypatch, program, expected):
    """By the driver's names, or by those of Slurm if the driver does not answer."""
    write_nvidia_smi(program)
    monkeypatch.setattr(gpu_driver, "NVIDIA_SMI_TIMEOUT_S", 0.5)

    found = allocated_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}, has_whole_nodes=False)

    assert found == FoundGpus(names=expected)


def test_a_job_without_gpus_finds_none(write_nvidia_smi):
    """Whatever the driver lists is another job's; `NoDevFiles` is Slurm's word for none."""
    write_nvidia_smi(f"cat <<'E'\n{TWO_GPUS}E")

    for value in ("", "NoDevFiles"):
        found = allocated_gpus({"CUDA_VISIBLE_DEVICES": value}, has_whole_nodes=False)
        assert found == FoundGpus()
    assert allocated_gpus({}, has_whole_nodes=False) == FoundGpus()


def test_whole_nodes_have_all_gpus_that_the_driver_lists(write_nvidia_smi):
    """Slurm knows of none; a variable that the site sets all the same counts."""
    write_nvidia_smi(f"cat <<'E'\n{TWO_GPUS}E")

    assert allocated_gpus({}, has_whole_nodes=True).names == (FIRST, SECOND)
    some = {"CUDA_VISIBLE_DEVICES": "1"}
    assert allocated_gpus(some, has_whole_nodes=True).names == (SECOND,)


@pytest.mark.parametrize(
    ("environment", "variable", "names"),
    [
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, "ROCR_VISIBLE_DEVICES", ("2", "3")),
        ({"HIP_VISIBLE_DEVICES": "1"}, "HIP_VISIBLE_DEVICES", ("1",)),
        (
            {"CUDA_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "0,1"},
            "ROCR_VISIBLE_DEVICES",
            ("0", "1"),
        ),
        ({"CUDA_VISIBLE_DEVICES": "2"}, "CUDA_VISIBLE_DEVICES", ("2",)),
    ],
)
def test_gpus_of_a_slurm_job_on_amd(amd_node, environment, variable, names):
    """By the variable that counts there; Slurm may set those of all vendors."""
    found = allocated_gpus(environment, has_whole_nodes=False)

    assert found == FoundGpus(names=names, variable=variable)


def test_gpus_of_amd_are_listed_by_their_driver(amd_node):
    """On a machine of one's own, and on whole nodes; processors that are CPUs do not count."""
    everything = FoundGpus(names=("0", "1", "2", "3"), variable="ROCR_VISIBLE_DEVICES")

    assert amd_gpus() == everything.names
    assert listed_gpus({}) == everything
    assert allocated_gpus({}, has_whole_nodes=True) == everything
    assert listed_gpus({"ROCR_VISIBLE_DEVICES": "3,9"}).names == ("3",)


def test_a_machine_without_a_driver_has_no_gpus(tmp_path, monkeypatch):
    """Also where a variable names some."""
    monkeypatch.setattr(gpu_driver, "_KFD_NODES", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert listed_gpus({"CUDA_VISIBLE_DEVICES": "0"}) == FoundGpus()


@pytest.mark.parametrize(
    ("listing", "modes", "expected"),
    [
        (TWO_GPUS, "Default\nDefault\n", set()),
        (TWO_GPUS, "Default\nExclusive_Process\n", {SECOND}),
        (TWO_GPUS, "Exclusive_Process\n", {FIRST, SECOND}),
        (TWO_GPUS, "Prohibited\nDefault\n", set()),
        (TWO_GPUS, "", set()),
        (
            DIVIDED_GPU,
            "Exclusive_Process\n",
            {
                "MIG-c0ffee00-0000-0000-0000-000000000000",
                "MIG-c0ffee01-0000-0000-0000-000000000000",
            },
        ),
    ],
)
def test_gpus_that_take_one_process(listing, modes, expected):
    """By the compute mode of each; a driver that tells too few is taken at its worst word."""
    assert exclusive_gpus(listing, modes) == expected


@pytest.mark.parametrize(
    ("devices", "has_mps", "can_be_shared"),
    [("0", False, True), ("1", False, False), ("0,1", False, False), ("1", True, True)],
)
def test_whether_gpus_can_be_shared(
    write_nvidia_smi, tmp_path, monkeypatch, devices, has_mps, can_be_shared
):
    """Not in the mode for one process, unless that process is the server of MPS."""
    modes = "printf 'Default\\nExclusive_Process\\n'"
    write_nvidia_smi(f"[ \"$1\" = -L ] || {{ {modes}; exit; }}\ncat <<'E'\n{TWO_GPUS}E")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if has_mps:
        (tmp_path / "control").touch()

    found = allocated_gpus({"CUDA_VISIBLE_DEVICES": devices}, has_whole_nodes=False)

    assert found.can_be_shared == can_be_shared

"""What is done for the same bits every time, and what is told where that is not enough."""

import os
import subprocess
import sys
import warnings

import attrs
import pytest
import torch

from scripts.workloads.logs import json_lines
from scripts.workloads.small_runs import write_run
from trainers.config.config_io import read_run_config, write_run_config
from trainers.training.determinism import (
    current_environment,
    nondeterminism_warnings,
    replaced_volumes,
    set_determinism,
    watch_nondeterminism,
)

ENVIRONMENT = {
    "torch": "2.13.0+cpu",
    "python": "3.11.7",
    "machine": "x86_64",
    "processor": "AVX512",
    "gpu": "none",
    "threads": "2",
    "ranks": "4",
}


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Other tests find torch as they would without these."""
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = benchmark


def found(*, deterministic=True, exact_across_ranks=False, before=ENVIRONMENT, **changes):
    return nondeterminism_warnings(
        deterministic=deterministic,
        exact_across_ranks=exact_across_ranks,
        before=before,
        now={**ENVIRONMENT, **changes},
    )


def test_nothing_is_doubted_where_nothing_has_changed():
    """Neither at the start of a run nor when it goes on as before."""
    assert found(before=None) == []
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"torch": "2.14.0"}, "torch is 2.14.0, and was 2.13.0+cpu"),
        ({"python": "3.12.0"}, "Python is 3.12.0, and was 3.11.7"),
        ({"machine": "aarch64"}, "the type of machine is aarch64, and was x86_64"),
        ({"processor": "AVX2"}, "the instruction set is AVX2, and was AVX512"),
        ({"threads": "1"}, "the number of threads is 1, and was 2"),
        ({"ranks": "2"}, "the number of ranks is 2, and was 4"),
    ],
)
def test_a_change_of_the_environment_is_told(changes, reason):
    """One reason for what is not as it was when the checkpoint was written."""
    assert found(**changes) == [f"{reason} when its checkpoint was written"]
    assert found(**changes, before=None) == []


def test_another_kind_of_gpu_is_told():
    """The threads of the processor do not count where a GPU computes."""
    before = {**ENVIRONMENT, "gpu": "A40"}

    assert found(before=before, gpu="H100", threads="8") == [
        "the GPU is H100, and was A40 when its checkpoint was written"
    ]


def test_ranks_may_change_where_sums_do_not_depend_on_them():
    """That is what exact_across_ranks is for; what else has changed is told all the same."""
    assert found(exact_across_ranks=True, ranks="2") == []
    assert len(found(exact_across_ranks=True, ranks="2", torch="2.14.0")) == 1


def test_a_checkpoint_may_know_less():
    """What it does not say is not held against it."""
    assert found(before={}) == []


def test_what_samples_are_made_with_counts_too():
    """Another version of a package, or another model of the CPU with the same instruction set."""
    before = {**ENVIRONMENT, "cpu": "A", "gunpowder": "1.4.0"}

    reasons = found(before=before, cpu="B", gunpowder="1.5.0")

    assert [each.partition(",")[0] for each in reasons] == [
        "gunpowder is 1.5.0",
        "the CPU is B",
    ]


def test_a_volume_that_was_replaced_is_told():
    """By its name; one that is not known, now or before, is not."""
    before = {"volume a/raw": "1 0/0", "volume a/gt": "2 0/0", "volume b/raw": "", "torch": "2"}
    now = {
        "volume a/raw": "1 0/0",
        "volume a/gt": "3 0/0",
        "volume b/raw": "4 ",
        "volume c/raw": "5 ",
    }

    (reason,) = replaced_volumes(before, now)

    assert reason.startswith("volume a/gt was replaced or written to")
    assert replaced_volumes(before, {"volume a/gt": ""}) == []


def test_what_cannot_matter_is_not_told():
    """The CPU of a GPU run; how NCCL adds up, where ranks do so themselves."""
    before = {**ENVIRONMENT, "gpu": "G", "cpu": "A", "nccl": "2.26", "topology": "4 on each node"}
    now = {"gpu": "G", "cpu": "B", "nccl": "2.27", "topology": "2 on each node"}

    assert found(before=before, exact_across_ranks=True, **now) == []
    assert len(found(before=before, **now)) == 2


def test_a_run_that_was_not_to_be_exact_is_not():
    """From its start on."""
    (reason,) = found(deterministic=False, before=None)

    assert reason.startswith("deterministic is false: ")


def test_this_environment():
    """All is known of it, and it is the same when it is asked for again."""
    now = current_environment(num_ranks=4)

    assert now.keys() >= {*ENVIRONMENT, "numpy", "numba", "gunpowder", "tensorstore", "cpu"}
    assert now["torch"] == torch.__version__
    assert now["threads"] == str(torch.get_num_threads())
    assert now["ranks"] == "4"
    assert current_environment(num_ranks=4) == now


def write_twice():
    """An operation that has no deterministic form: which of the two stays?"""
    torch.zeros(3).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))


def test_an_operation_without_a_deterministic_form_is_told_once():
    """By its name, however often it is used; torch's own warning is not shown beside it."""
    told: list[str] = []
    set_determinism(True, num_threads=1)

    with warnings.catch_warnings(record=True) as shown, watch_nondeterminism(told.append):
        write_twice()
        write_twice()
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))

    assert told == ["torch has no deterministic implementation of put_"]
    assert shown == []


def test_each_attempt_is_told_anew():
    """What was told before counts for the attempt before."""
    set_determinism(True, num_threads=1)
    for _ in range(2):
        told: list[str] = []
        with watch_nondeterminism(told.append):
            write_twice()
        assert len(told) == 1


def test_other_warnings_are_shown_as_ever():
    """Those of torch, too."""
    told: list[str] = []
    with (
        pytest.warns(UserWarning, match="the sky is falling"),
        watch_nondeterminism(told.append),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("always")
        warnings.warn("the sky is falling", stacklevel=1)

    assert told == []


def test_what_is_exact_tells_nothing():
    """Convolutions, their gradients, and what else a U-Net is made of on a CPU."""
    told: list[str] = []
    set_determinism(True, num_threads=2)
    raw = torch.rand(1, 2, 8, 8, 8, requires_grad=True)
    layers = torch.nn.Sequential(
        torch.nn.Conv3d(2, 4, 3),
        torch.nn.GroupNorm(2, 4),
        torch.nn.ReLU(),
        torch.nn.MaxPool3d(2),
        torch.nn.Upsample(scale_factor=2),
        torch.nn.ConvTranspose3d(4, 2, 2),
        torch.nn.Dropout(),
    )

    with watch_nondeterminism(told.append):
        layers(raw).sum().backward()

    assert told == []


def test_speed_instead_of_exactness():
    """Nothing is forced, and cuDNN may try out what is quickest."""
    told: list[str] = []
    set_determinism(False, num_threads=1)

    with watch_nondeterminism(told.append):
        write_twice()

    assert torch.get_deterministic_debug_mode() == 0
    assert torch.backends.cudnn.benchmark
    assert told == []


PUTTING_NET = """
import torch

class Net(torch.nn.Conv3d):
    def __init__(self, in_channels):
        super().__init__(in_channels, 3, 1)

    def forward(self, raw):
        torch.zeros(3).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
        return super().forward(raw)
"""


def train(folder):
    """What a run says of its exactness until its end, in its events and in the log."""
    with folder.log(0).open("wb") as log:
        command = [sys.executable, "-m", "trainers", folder.path]
        subprocess.run(command, stdout=log, stderr=log, check=True)
    events = json_lines(folder.events)
    told = [each["reason"] for each in events if each["event"] == "inexact"]
    for reason in told:
        assert f"this run is not reproducible bit for bit: {reason}" in folder.log(0).read_text()
    return told


@pytest.mark.slow
def test_a_run_says_why_it_is_not_exact(tmp_path):
    """Nothing while it is; then each reason once for every attempt."""
    folder = write_run(tmp_path, "run", num_iterations=2)
    config = read_run_config(folder.config)

    assert train(folder) == []
    write_run_config(folder.config, attrs.evolve(config, num_iterations=3))
    assert train(folder) == []

    resources = attrs.evolve(config.resources, cpus=2)
    changed = attrs.evolve(config, resources=resources, num_iterations=4, deterministic=False)
    write_run_config(folder.config, changed)
    assert train(folder) == [
        "deterministic is false: torch chooses the fastest kernels, "
        "which may round differently each time",
        "the number of threads is 2, and was 1 when its checkpoint was written",
    ]


@pytest.mark.slow
def test_a_run_says_which_operation_is_not_exact(tmp_path):
    """However many iterations use it."""
    (tmp_path / "putting_net.py").write_text(PUTTING_NET)
    folder = write_run(
        tmp_path, "run", {"architecture.import_path": "putting_net:Net"}, num_iterations=2
    )

    assert train(folder) == ["torch has no deterministic implementation of put_"]


@pytest.mark.parametrize(
    ("deterministic", "expected"), [(True, "1 False :4096:8 1"), (False, "0 True None None")]
)
def test_what_is_set(deterministic, expected):
    """In a process of its own; torch's compiler, which takes long to load, is not loaded for it."""
    code = f"""
import os, sys, torch
from trainers.training.determinism import set_determinism
set_determinism({deterministic}, num_threads=1)
get = os.environ.get
print(torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark,
      get("CUBLAS_WORKSPACE_CONFIG"), get("TORCHINDUCTOR_DETERMINISTIC"))
print(torch.get_num_threads(), "torch._dynamo" in sys.modules)
"""
    names = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC")
    clean = {name: value for name, value in os.environ.items() if name not in names}

    lines = subprocess.run(
        [sys.executable, "-c", code], env=clean, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()

    assert lines == [expected, "1 False"]

"""Determinism: make runs reproducible bit for bit, and say what prevents it."""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

import torch

NO_GPU = "none"
VOLUME_PREFIX = "volume "
"""Of the keys under which an environment has the identities of volumes."""

_DETERMINISM_WARNING = r"(?is).*\bdeterminis"
"""Matches torch's warnings about operations without a deterministic implementation."""
_OPERATION = re.compile(r"(\S+) does not have a deterministic implementation")

_PACKAGES = ("numpy", "numba", "scipy", "gunpowder", "tensorstore")
"""What samples and targets are made with."""
_NAMES = {
    "torch": "torch",
    "python": "Python",
    **{name: name for name in _PACKAGES},
    "machine": "the type of machine",
    "processor": "the instruction set",
    "cpu": "the CPU",
    "gpu": "the GPU",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "driver": "the GPU driver",
    "nccl": "NCCL",
    "threads": "the number of threads",
    "ranks": "the number of ranks",
    "topology": "the placement of ranks",
}
"""Entries of an environment that decide the last bits; others, such as `gpus`, are for people."""


def current_environment(num_ranks: int, ranks_per_node: int = 1) -> dict[str, str]:
    """Return what the bits of a result depend on; part of each checkpoint's manifest.

    Call it after `set_determinism`, which sets the number of threads.

    Args:
        num_ranks: The world size of the run.
        ranks_per_node: That of this node.
    """
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        **_package_versions(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else NO_GPU,
        **(_gpu_environment(num_ranks, ranks_per_node) if torch.cuda.is_available() else {}),
        "threads": str(torch.get_num_threads()),
        "ranks": str(num_ranks),
    }


@cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@cache
def _cpu_model() -> str:
    """Return the model of the CPU: BLAS and oneDNN choose kernels by it, not by instruction set."""
    with suppress(OSError):
        if match := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M):
            return match[1]
    return platform.processor() or "unknown"


def _gpu_environment(num_ranks: int, ranks_per_node: int) -> dict[str, str]:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    environment = {
        "gpus": ", ".join(f"{number} x {name}" for name, number in Counter(names).items()),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "driver": _driver_version(),
    }
    if num_ranks > 1:
        # The order of NCCL's sums follows its algorithm, and that the topology and the tuner.
        forced = [
            f"{key}={os.environ[key]}" for key in ("NCCL_ALGO", "NCCL_PROTO") if key in os.environ
        ]
        release = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
        environment["nccl"] = " ".join([release, *forced])
        environment["topology"] = f"{ranks_per_node} on each node"
    return environment


def _driver_version() -> str:
    with suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text()
        if match := re.search(r"\d+\.\d+(\.\d+)?", text):
            return match[0]
    return "unknown"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return a phrase for each entry that differs, such as `torch is 2.13.0, and was 2.12.0`."""
    return {
        key: f"{_NAMES[key]} is {now[key]}, and was {before[key]}"
        for key in _NAMES
        if key in before and key in now and before[key] != now[key]
    }


def replaced_volumes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return a reason for each volume that is not the one that a checkpoint was written with.

    Identities that are empty or missing are not known.
    """
    return [
        f"volume {key.removeprefix(VOLUME_PREFIX)} was replaced or written to since its "
        "checkpoint was written"
        for key in now
        if key.startswith(VOLUME_PREFIX)
        if before.get(key) and now[key] and before[key] != now[key]
    ]


def set_determinism(deterministic: bool, num_threads: int) -> None:
    """Make torch reproducible on the same kind of device with the same number of threads.

    Call it before anything is computed. An operation without a deterministic implementation runs
    anyway and warns; see `watch_nondeterminism`.

    Args:
        deterministic: False lets torch choose the fastest kernels, by measuring them.
    """
    torch.set_num_threads(num_threads)
    # Not torch.use_deterministic_algorithms, which does the same but imports torch._inductor; that
    # takes a second at every start. Filling uninitialized memory costs time, and changes nothing
    # unless a kernel reads what it has not written.
    torch.set_deterministic_debug_mode("warn" if deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
        # cuBLAS is deterministic only with a fixed workspace; read when its handle is created.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def nondeterminism_warnings(
    *,
    deterministic: bool,
    exact_across_ranks: bool,
    before: Mapping[str, str] | None,
    now: Mapping[str, str],
) -> list[str]:
    """Return why an attempt will not resume bit for bit; empty if it will.

    Args:
        before: The environment that wrote the checkpoint to resume from; None without one.
        now: The `current_environment` of the attempt.
    """
    reasons = []
    if not deterministic:
        reasons.append(
            "deterministic is false: torch chooses the fastest kernels, which may round "
            "differently each time"
        )
    if before is not None:
        changed = changes(before, now)
        if exact_across_ranks:  # sums are added up by us, and between pairs of ranks
            for key in ("ranks", "topology", "nccl"):
                changed.pop(key, None)
        if now["gpu"] != NO_GPU:
            for key in ("threads", "cpu"):  # samples depend on the instruction set alone
                changed.pop(key, None)
        reasons += [f"{each} when its checkpoint was written" for each in changed.values()]
    return reasons


@contextmanager
def watch_nondeterminism(report: Callable[[str], None]) -> Iterator[None]:
    """Report each operation that torch has no deterministic implementation of, once.

    They replace torch's own warnings, which would not be in the run's events.
    """
    reported: set[str] = set()
    with warnings.catch_warnings():
        warnings.filterwarnings("default", _DETERMINISM_WARNING, UserWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = str(message)
            if not re.match(_DETERMINISM_WARNING, text):
                show_others(message, category, filename, lineno, file, line)
            elif (reason := _reason(text)) not in reported:
                reported.add(reason)
                report(reason)

        warnings.showwarning = show
        yield


def _reason(warning: str) -> str:
    if match := _OPERATION.match(warning):
        return f"torch has no deterministic implementation of {match[1]}"
    return warning.partition(". ")[0]

"""What, beside the run itself, decides the last bits of a result."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import torch

NO_GPU = "none"

_NAMES = {
    "torch": "torch",
    "python": "Python",
    "machine": "the type of machine",
    "processor": "the instruction set",
    "gpu": "the GPU",
    "threads": "the number of threads",
    "ranks": "the number of ranks",
}


def current_environment(num_ranks: int) -> dict[str, str]:
    """Of this process, as checkpoints keep it; ask once the number of threads is set.

    Args:
        num_ranks: That train the run together.
    """
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else NO_GPU,
        "threads": str(torch.get_num_threads()),
        "ranks": str(num_ranks),
    }


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """A phrase for each entry that is not as it was, such as `torch is 2.13.0, and was 2.12.0`."""
    return {
        key: f"{_NAMES[key]} is {now[key]}, and was {before[key]}"
        for key in _NAMES
        if key in before and key in now and before[key] != now[key]
    }

"""Whether a run gives the same bits every time, and what keeps it from that."""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

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


_OF_TORCH = r"(?is).*\bdeterminis"
"""How torch's warnings begin that tell of an operation without a deterministic form."""
_OPERATION = re.compile(r"(\S+) does not have a deterministic implementation")


def set_determinism(deterministic: bool, num_threads: int) -> None:
    """The same bits every time, on the same kind of device and with the same number of threads.

    Call it before anything is computed. Where torch knows no such way it takes another one, and
    warns: see `watched_operations`.

    Args:
        deterministic: If not, whatever is quickest here and now.
    """
    torch.set_num_threads(num_threads)
    # use_deterministic_algorithms says both, but loads the compiler for it, which takes a second
    torch.set_deterministic_debug_mode("warn" if deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def nondeterminism_warnings(
    *,
    deterministic: bool,
    exact_across_ranks: bool,
    before: Mapping[str, str] | None,
    now: Mapping[str, str],
) -> list[str]:
    """Why an attempt will not go on bit for bit as if there had been no stop; empty if it will.

    Args:
        before: The environment in which the checkpoint was written that it begins with; None if
            it begins at the start.
        now: The environment of the attempt; see `trainers.training.determinism`.
    """
    reasons = []
    if not deterministic:
        reasons.append(
            "deterministic is false: torch takes what is quickest, which may round otherwise "
            "each time"
        )
    if before is not None:
        changed = changes(before, now)
        if exact_across_ranks:
            changed.pop("ranks", None)
        if now["gpu"] != NO_GPU:
            changed.pop("threads", None)  # they make samples, whose bits do not depend on them
        reasons += [f"{each} when its checkpoint was written" for each in changed.values()]
    return reasons


@contextmanager
def watched_operations(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell, once for each operation, of those that torch has no deterministic form of.

    Meanwhile torch's own warnings about them are not shown.
    """
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.filterwarnings("default", _OF_TORCH, UserWarning)
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
            if not re.match(_OF_TORCH, text):
                show_others(message, category, filename, lineno, file, line)
            elif (reason := _reason(text)) not in told:
                told.add(reason)
                tell(reason)

        warnings.showwarning = show
        yield


def _reason(warning: str) -> str:
    if match := _OPERATION.match(warning):
        return f"torch has no form of {match[1]} that gives the same bits every time"
    return warning.partition(". ")[0]

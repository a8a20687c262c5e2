"""What, beside the run itself, decides the last bits of a result."""

from __future__ import annotations

import platform

import torch


def current_environment() -> dict[str, str]:
    """The versions and the processor type of this process."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """One phrase for each entry that changed, such as `torch 2.12.0 became 2.13.0`."""
    return [
        f"{name} {before.get(name, 'unknown')} became {now.get(name, 'unknown')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]

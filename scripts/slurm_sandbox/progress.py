"""What a long command says while it works."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.slurm_sandbox.errors import SandboxError

_began = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _began:6.2f} s] {text}", flush=True)


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    timeout_s: float,
    why_not: Callable[[], str] = lambda: "",
) -> None:
    """Return as soon as the condition holds.

    Raises:
        SandboxError: It does not within the time; the message ends with `why_not()`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxError(f"after {timeout_s:.0f} s still waiting: {what}.{why_not()}")
        time.sleep(0.05)

"""Runs that hang on demand, part by part."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.workloads.processes import children
from scripts.workloads.small_runs import write_run
from trainers.run.run_folder import RunFolder

MODULES = Path(__file__).with_name("hanging")
FOREVER_S = 100_000.0
IN_A_PROCESS = {
    "trainer.num_data_fetchers": 1,
    "trainer.augments": [{"kind": "custom", "import_path": "in_process:InProcessConfig"}],
}
"""Overrides: a worker process makes the samples."""


def write_hanging_run(
    parent: Path,
    name: str,
    dotted: Mapping[str, Any] | None = None,
    *,
    net: Mapping[str, Any] | None = None,
    **changes: Any,
) -> RunFolder:
    """A run of `hanging_net.Net`, which goes on until it is ended; see `write_run`.

    Args:
        parent: Where acts are left, for all runs in it.
    """
    shutil.copytree(MODULES, parent, dirs_exist_ok=True)
    custom = {
        "kind": "custom",
        "import_path": "hanging_net:Net",
        "arguments": dict(net or {}),
        "input_shape": [16, 16, 16],
    }
    changes = {"num_iterations": 10_000_000, "checkpoint.every_iterations": 20, **changes}
    return write_run(
        parent,
        name,
        {"architecture": custom, "trainer.batch_size": 2, **(dotted or {})},
        **changes,
    )


def leave_act(parent: Path, name: str, *, rank: int = 0, seconds: float = FOREVER_S) -> Path:
    """Have a rank do something at its next occasion; return the file, which is gone from then on.

    Args:
        name: `sleep`, `keep_the_gil` or `stop` (by SIGSTOP) in a forward pass; `be_late` for
            samples, `be_late_to_vote` on whether to stop; `sleep_at_import`, `sleep_at_exit`.
        seconds: Of the acts that sleep.
    """
    path = parent / f"{name}.{rank}"
    path.write_text(f"{seconds}")
    return path


def worker_of(trainer: int) -> int:
    """The worker process of a trainer.

    Raises:
        LookupError: It has none.
    """
    for child in children(trainer):
        if b"worker_main" in Path("/proc", str(child), "cmdline").read_bytes():
            return child
    raise LookupError(f"process {trainer} has no worker")

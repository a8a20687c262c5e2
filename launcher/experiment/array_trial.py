"""Open the arrays of an experiment before anything is queued, in a process with TensorStore."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.trial import plain_info

_REPORT_S = 10.0
_TIMEOUT_S = 120.0
"""For all arrays together: the job opens them again, and waits for longer."""


def try_arrays(infos: Sequence[ArrayInfo], report: Callable[[str], None]) -> Sequence[str | None]:
    """Open arrays as a trainer does; return why each cannot be read, or None.

    What could not be tried counts as readable.

    Args:
        report: Is told what takes long, and what could not be tried.
    """
    if not infos:
        return []
    if find_spec("tensorstore") is None:
        report(
            "the volumes are not opened before they are queued: TensorStore is not installed here "
            "(pip install 'launch-trainers[train]'), so what cannot be read ends the job"
        )
        return [None] * len(infos)
    output, errors = _run([plain_info(info) for info in infos], report)
    results = dict(map(json.loads, output.splitlines()))
    untried = [str(info.path) for index, info in enumerate(infos) if index not in results]
    if untried:
        reason = errors.strip().rpartition("\n")[2] or f"no answer in {_TIMEOUT_S:g} s"
        report(f"could not open {', '.join(untried[:3])} ({reason}); the job tries again")
    return [results.get(index) for index in range(len(infos))]


def _run(infos: list[dict[str, object]], report: Callable[[str], None]) -> tuple[str, str]:
    process = subprocess.Popen(
        # -P: modules come from where they are installed, not from the current folder
        [sys.executable, "-P", "-m", "trainers.datasets.trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    data: str | None = json.dumps(infos)
    try:
        while (waited := time.monotonic() - began) < _TIMEOUT_S:
            try:
                return process.communicate(data, timeout=_REPORT_S)
            except subprocess.TimeoutExpired:
                data = None  # `communicate` has it
                report(f"opening {len(infos)} arrays, for {waited + _REPORT_S:.0f} s so far")
    finally:
        process.kill()
    return process.communicate()

"""Submit, pack, watch and resume training runs; imports no part of a training stack.

The public names are imported on first use (PEP 562), so that no command waits for the imports of
another one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.clusters.submission_target import SlurmOptions
    from launcher.experiment.experiment import Experiment, read_experiment
    from launcher.monitor.status import RunStatus, status
    from launcher.submission.cancel import Cancellation, cancel
    from launcher.submission.options import SubmitOptions
    from launcher.submission.submission import Submission
    from launcher.submission.submit import submit

__all__ = [
    "Cancellation",
    "Experiment",
    "RunStatus",
    "SlurmOptions",
    "Submission",
    "SubmitOptions",
    "cancel",
    "read_experiment",
    "status",
    "submit",
]

_MODULES = {
    "Cancellation": "launcher.submission.cancel",
    "Experiment": "launcher.experiment.experiment",
    "RunStatus": "launcher.monitor.status",
    "SlurmOptions": "launcher.clusters.submission_target",
    "Submission": "launcher.submission.submission",
    "SubmitOptions": "launcher.submission.options",
    "cancel": "launcher.submission.cancel",
    "read_experiment": "launcher.experiment.experiment",
    "status": "launcher.monitor.status",
    "submit": "launcher.submission.submit",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

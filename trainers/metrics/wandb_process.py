"""What W&B's client finds in this process, and the process that it starts. Imports no wandb."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_MAY_REACH_A_RUN = frozenset(
    {
        "WANDB_API_KEY",
        "WANDB_BASE_URL",
        "WANDB_APP_URL",
        "WANDB_CREDENTIALS_FILE",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_HTTP_TIMEOUT",
        "WANDB_INSECURE_DISABLE_SSL",
        "WANDB_X_EXTRA_HTTP_HEADERS",
        "WANDB__EXTRA_HTTP_HEADERS",
        "WANDB__PROXIES",
        "WANDB_CACHE_DIR",
        "WANDB_CONFIG_DIR",
        "WANDB_DATA_DIR",
        "WANDB_ERROR_REPORTING",
    }
)
"""Where the server is, how to reach it and who reports; `http_proxy`, `SSL_CERT_FILE` and the like
are left alone anyway."""


def clean_environment() -> None:
    """Drop the variables that would make W&B's client report another run, or elsewhere.

    Call it before wandb is imported. The shell that submits may have them from a run or a sweep of
    its own: WANDB_RUN_ID, WANDB_SERVICE, WANDB_MODE and so on.
    """
    for name in list(os.environ):
        if name.startswith("WANDB_") and name not in _MAY_REACH_A_RUN:
            del os.environ[name]
    # W&B sends error reports and usage data even in offline mode.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def kill_service() -> None:
    """Kill wandb-core, W&B's service process, which this process would wait for at exit.

    W&B has no public way to do so. The service is a child of whichever thread started it.
    """
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread or a child that has ended meanwhile
            for child in children.read_text().split():
                if Path("/proc", child, "comm").read_text().strip() == "wandb-core":
                    os.kill(int(child), signal.SIGKILL)


def end_process(code: int) -> NoReturn:
    """End this process without W&B's exit handlers, which wait for its service."""
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread of W&B that notices that its service is gone would write a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    kill_service()
    os._exit(code)

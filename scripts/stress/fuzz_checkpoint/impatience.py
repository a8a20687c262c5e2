"""A trainer that gives a disk a second, not minutes: what lasts in a trial, lasts."""

from __future__ import annotations

from trainers import __main__ as trainers_main
from trainers.checkpoints import async_checkpointer
from trainers.metrics import json_lines_writer
from trainers.run import lease
from trainers.training import restore

_WAITS = (
    (trainers_main, "START_TIMEOUT_S"),
    (trainers_main, "LAST_RECORDS_TIMEOUT_S"),
    (async_checkpointer, "LAST_SAVE_TIMEOUT_S"),
    (json_lines_writer, "SYNC_TIMEOUT_S"),
    (json_lines_writer, "CLOSE_TIMEOUT_S"),
    (lease, "TAKE_TIMEOUT_S"),
    (lease, "CHECK_TIMEOUT_S"),
    (restore, "TIMEOUT_S"),
)


def be_impatient() -> None:
    """Shorten whatever this process waits for."""
    for module, name in _WAITS:
        assert hasattr(module, name)
        setattr(module, name, 1.0)

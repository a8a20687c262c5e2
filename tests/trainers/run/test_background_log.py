"""The log of a trainer, which a thread writes."""

from __future__ import annotations

import re
import subprocess
import sys

PROGRAM = """
import logging
from trainers.run.background_log import flush_log, log_in_background

log_in_background()
logging.getLogger("a").info("%d of %d", 1, 2)
try:
    raise ValueError("b")
except ValueError:
    logging.getLogger("a").exception("c")
flush_log()
"""


def test_each_message_has_time_level_and_name_once() -> None:
    """A traceback follows its message."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    first, second, *traceback = result.stderr.splitlines()
    assert re.fullmatch(r"[0-9-]+ [0-9:,]+ INFO a: 1 of 2", first)
    assert re.fullmatch(r"[0-9-]+ [0-9:,]+ ERROR a: c", second)
    assert (traceback[0], traceback[-1]) == (
        "Traceback (most recent call last):",
        "ValueError: b",
    )

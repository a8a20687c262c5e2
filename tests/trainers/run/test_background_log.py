"""The log of a trainer, which a thread writes."""

import re
import subprocess
import sys


def test_each_message_has_its_time_and_name_once():
    """And a traceback below it."""
    code = (
        "import logging; from trainers.run.background_log import flush_log, log_in_background\n"
        "log_in_background()\n"
        "try: 1 / 0\n"
        "except ArithmeticError: logging.getLogger('trainers').exception('the run has failed')\n"
        "flush_log()"
    )

    log = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True).stderr

    first, *traceback, last = log.splitlines()
    assert re.fullmatch(r"[-0-9]+ [:,0-9]+ ERROR trainers: the run has failed", first)
    assert traceback[0] == "Traceback (most recent call last):"
    assert last == "ZeroDivisionError: division by zero"

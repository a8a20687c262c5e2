"""Report iterations of a run, say so once W&B records them, wait for the end of stdin, report as
many again, and finish.

Usage: python -m tests.trainers.metrics.report RUN_FOLDER MODE NUM_ITERATIONS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import cast

from tests.trainers.metrics.runs import logs_of, record_of, run_config
from trainers.config.run_config import WandbMode
from trainers.metrics import row_feed
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.run_folder import RunFolder


def main(path: str, mode: WandbMode, num_iterations: int) -> None:
    row_feed.CLOSE_TIMEOUT_S = 2.0
    folder = RunFolder(Path(path))
    earlier_logs = logs_of(folder)
    writer = open_metric_writer(run_config(mode), record_of(folder), start_iteration=0)
    for iteration in range(num_iterations):
        writer.write(iteration, {"loss": 1.0})
    writer.sync()
    while not any(log.stat().st_size for log in set(logs_of(folder)) - set(earlier_logs)):
        time.sleep(0.01)
    sys.stdout.write("reported\n")
    sys.stdout.flush()
    sys.stdin.read()
    for iteration in range(num_iterations, 2 * num_iterations):
        writer.write(iteration, {"loss": 1.0})
    writer.close(finished=True, preempted=False)


if __name__ == "__main__":
    main(sys.argv[1], cast("WandbMode", sys.argv[2]), int(sys.argv[3]))

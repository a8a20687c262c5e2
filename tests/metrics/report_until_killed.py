"""Report iterations of a run, say so, and wait for the kill.

Usage: python report_until_killed.py RUN_FOLDER MODE NUM_ITERATIONS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.metrics.runs import run_config
from trainers.metrics.open_writer import open_metric_writer
from trainers.run_folder import RunFolder


def main(folder: str, mode: str, num_iterations: str) -> None:
    writer = open_metric_writer(run_config(mode), RunFolder(Path(folder)), start_iteration=0)
    for iteration in range(int(num_iterations)):
        writer.write(iteration, {"loss": 1 / (iteration + 1)})
    writer.sync()
    print("reported", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])

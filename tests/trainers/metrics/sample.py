"""Take some samples of this process's use of the machine, and finish.

Usage: python -m tests.trainers.metrics.sample RUN_FOLDER NUM_SAMPLES
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trainers.metrics import gpu_usage, system_metrics
from trainers.metrics.system_metrics import SystemMetrics
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder


def main(path: str, num_samples: int) -> None:
    gpu_usage.ANSWER_TIMEOUT_S = 0.05
    system_metrics.INTERVAL_S = 0.1
    folder = RunFolder(Path(path))
    metrics = SystemMetrics(folder, RecordWriter(), attempt=0)
    while not (
        folder.system.exists() and len(folder.system.read_bytes().splitlines()) >= num_samples
    ):
        time.sleep(0.01)
    metrics.close(finished=True, preempted=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""`python -m trainers RUN_FOLDER` with a fault; to be started under `file_faults.preloaded`.

faulty_trainer.py ERRNO PART RUN_FOLDER    calls that write, below the run's folder and with
                                           PART in their path, fail from the first on
"""

from __future__ import annotations

import errno
import runpy
import sys
from pathlib import Path

from scripts.stress.fuzz_checkpoint.file_faults import Fault, FileFaults
from scripts.workloads.file_calls import WRITING

if __name__ == "__main__":
    name, part, run = sys.argv[1:]
    fault = Fault(
        action="fail",
        number=getattr(errno, name),
        operations=(*WRITING, "fsync"),
        is_lasting=True,
    )
    FileFaults().arm(fault, Path(run), part=part)
    sys.argv = ["trainers", run]
    runpy.run_module("trainers", run_name="__main__", alter_sys=True)

"""`python -m trainers RUN_FOLDER` with a fault; to be started under `file_faults.preloaded`.

faulty_trainer.py ERRNO PART RUN_FOLDER    calls that write, below the run's folder and with
                                           PART in their path, fail from the first on
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from scripts.stress.fuzz_checkpoint.file_faults import WRITING, Fault, FileFaults
from scripts.stress.fuzz_checkpoint.impatience import be_impatient
from trainers.__main__ import exit_with, main

if __name__ == "__main__":
    name, part, run = sys.argv[1:]
    fault = Fault(
        action="fail",
        number=getattr(errno, name),
        operations=(*WRITING, "fsync"),
        is_lasting=True,
    )
    FileFaults().arm(fault, Path(run), part=part)
    be_impatient()
    exit_with(main([run]))

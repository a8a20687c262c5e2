"""Submit a pack to submitit's local executor; `slurm.submit` is its counterpart for Slurm.

As a program, `python -m launcher.submission.local_job PACK_FOLDER`, it does so in a session of its
own (`setsid`): the job must outlive the terminal, receive no Ctrl-C, and keep none of the caller's
files open.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from submitit.local.local import LocalExecutor

from launcher.environment import for_run
from launcher.errors import SubmissionError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack_job import run_pack
from trainers.run.lease import is_live

_FOREVER_MIN = 10 * 365 * 24 * 60
"""submitit's local executor kills a job after `timeout_min`, which is 2 minutes by default."""


def start_locally(folder: PackFolder) -> None:
    """Start the pack's job, detached; return once its node supervisor holds the pack's lease.

    Raises:
        SubmissionError: The supervisor did not start.
    """
    with folder.start_log.open("wb") as log:
        starter = subprocess.run(
            [sys.executable, "-m", __name__, str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Without it the working directory is first on the path of `python -m`, and a user's
            # folder `trainers/` would hide ours.
            env={**for_run(os.environ), "PYTHONSAFEPATH": "1"},
            start_new_session=True,
            check=False,
        )
    if starter.returncode != 0:
        output = folder.start_log.read_text(errors="replace").strip()
        raise SubmissionError(f"the local job of {folder.path} did not start:\n{output}")


def main() -> None:
    folder = PackFolder(sys.argv[1])
    executor = LocalExecutor(folder.submitit)
    executor.update_parameters(timeout_min=_FOREVER_MIN, stderr_to_stdout=True)
    job = executor.submit(run_pack, str(folder.path))
    while not is_live(folder.lease):
        if job.done():
            job.result()
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()

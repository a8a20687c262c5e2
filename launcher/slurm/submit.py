"""Submit packs to Slurm through submitit, as job arrays.

`submission.local_job` is its counterpart for this machine; no other module speaks to submitit.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from launcher.errors import SubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.os_errors import doing, sentence


def submit_array(
    folder: ExperimentFolder,
    packs: Sequence[PackFolder],
    parameters: Mapping[str, Any],
    entry_point: Callable[[str], None],
) -> list[str]:
    """Submit packs as one array; return the ids of their jobs, in the order of the packs.

    Args:
        parameters: Of submitit's executor, from `job_parameters`.
        entry_point: What each job calls with the path of its pack: `run_pack`. submitit pickles it
            by its qualified name, so that name must stay the same while jobs are in the queue.

    Raises:
        SubmissionError: Slurm refused, or what it needs cannot be written.
    """
    listing = folder.submitit / f"packs-{uuid4().hex}.txt"
    try:
        with doing("writing what Slurm is to run", listing):
            folder.submitit.mkdir(exist_ok=True)
            listing.write_text("".join(f"{pack.name}\n" for pack in packs))
            return _submit(folder, packs, parameters, entry_point, listing)
    except OSError as error:
        raise SubmissionError(f"the jobs were not submitted: {sentence(error)}") from error


def _submit(
    folder: ExperimentFolder,
    packs: Sequence[PackFolder],
    parameters: Mapping[str, Any],
    entry_point: Callable[[str], None],
    listing: Path,
) -> list[str]:
    executor = SlurmExecutor(folder.submitit)
    setup = [*parameters["setup"], *_batch_lines(folder, listing)]
    executor.update_parameters(**{**parameters, "setup": setup})
    try:
        jobs = executor.map_array(entry_point, [str(pack.path) for pack in packs])
    except (FailedJobError, FailedSubmissionError) as error:
        raise SubmissionError(f"Slurm refused the jobs: {error}") from error
    return [job.job_id for job in jobs]


def _batch_lines(folder: ExperimentFolder, listing: Path) -> list[str]:
    """Return shell lines before the step: `batch_end` runs after a step that left no `over` file.

    The shell must survive the stop signals, which the step handles, to run `batch_end` at its exit.
    It traps them with `:`, not with '': children inherit ignored signals, the step among them.
    """
    after = shlex.join([sys.executable, "-m", "launcher.job.batch_end"])
    name = f'"$(sed -n "$((${{SLURM_ARRAY_TASK_ID:-0}} + 1))p" {shlex.quote(str(listing))})"'
    return [
        f"PACK={shlex.quote(str(folder.jobs))}/{name}",
        'rm -f "$PACK/over"',
        "trap : TERM USR1 USR2",
        f"""trap 'code=$?; [ -e "$PACK/over" ] || {after} "$PACK" "$code"' EXIT""",
    ]

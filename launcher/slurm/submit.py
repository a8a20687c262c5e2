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
from trainers.stop_flag import SIGNALS

MAX_FAILED_STARTS = 5
"""Of a job in a row, before any of its members began; then it is given up."""
_FAILED_START = shlex.quote(
    r'{"time": %s, "event": "failure", "kind": "failed start", "node": "%s", "job": "%s", '
    r'"reason": "our Python cannot be started there"}\n'
)
"""A line of `nodes.jsonl`, as `job.bad_nodes` writes it."""
_STEP_ENDED = shlex.quote(r'{"time": %s, "event": "step ended", "job": "%s", "status": %s}\n')
"""A line of the pack's `events.jsonl`, as `batch_end` writes it."""
_STOP_STATUSES = "|".join(str(128 + signum) for signum in SIGNALS)
_COUNT_FAILED_STARTS = shlex.quote(
    '/"event": "began"/ {n = 0} '
    f'/"event": "step ended"/ && !/"status": ({_STOP_STATUSES})/ {{n++}} '
    "END {print n + 0}"
)
"""What `batch_end.count_failed_starts` does, for awk."""
_REQUEUE_PAUSES_S = "0 1 2 5 10 20 30"
"""Before each try of the shell to requeue a job: the controller may be restarting."""


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

    A node where our Python cannot be started at all, as one whose mount of the software is away,
    fails each job at once, is idle again, and gets the next one. There the shell itself notes the
    failure of the node, and requeues the job elsewhere: not on the nodes that it was kept from
    before either, or two such nodes would pass it to and fro.
    """
    python = shlex.quote(sys.executable)
    name = f'"$(sed -n "$((${{SLURM_ARRAY_TASK_ID:-0}} + 1))p" {_quoted(listing)})"'
    return [
        f"PACK={_quoted(folder.jobs)}/{name}",
        f"PYTHON={python}",
        'rm -f "$PACK/over"',
        "trap : TERM USR1 USR2",
        "leave_node() {",
        '  job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"',
        '  job="${job:-$SLURM_JOB_ID}"',
        f"  printf {_FAILED_START} $(date +%s) $SLURMD_NODENAME $job >> {_quoted(folder.nodes)}",
        # Where the pack cannot be written either, the restarts are all that can be counted.
        "  failed=${SLURM_RESTART_COUNT:-0}",
        f'  printf {_STEP_ENDED} $(date +%s) $job "$1" >> "$PACK/events.jsonl" &&',
        f'    failed=$(awk {_COUNT_FAILED_STARTS} "$PACK/events.jsonl")',
        f'  [ "$failed" -ge {MAX_FAILED_STARTS} ] && return',
        "  nodes=$(scontrol show job $job | sed -n 's/.* ExcNodeList=\\([^ ]*\\).*/\\1/p')",
        '  [ "$nodes" = "(null)" ] && nodes=""',
        f"  for pause in {_REQUEUE_PAUSES_S}; do",
        "    sleep $pause",
        "    scontrol requeue $job || continue",
        '    scontrol update JobId=$job "ExcNodeList=${nodes:+$nodes,}$SLURMD_NODENAME"',
        "    return",
        "  done",
        "}",
        "end_batch() {",
        '  [ -e "$PACK/over" ] && return',
        '  "$PYTHON" -c "import launcher" 2> /dev/null',
        "  starts=$?",
        # Above 128 a signal has ended it, such as Slurm's: that says nothing about the node.
        '  if [ "$starts" -eq 0 ] || [ "$starts" -gt 128 ]; then',
        '    "$PYTHON" -m launcher.job.batch_end "$PACK" "$1"',
        "  else",
        '    leave_node "$1"',
        "  fi",
        "}",
        "trap 'end_batch $?' EXIT",
    ]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))

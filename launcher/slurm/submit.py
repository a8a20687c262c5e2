"""Submit packs to Slurm through submitit, as job arrays.

`submission.local_job` is its counterpart for this machine; no other module speaks to submitit.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from launcher.errors import SubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.os_errors import doing, sentence
from launcher.slurm import client
from launcher.slurm.array_files import ArrayFiles
from launcher.slurm.sbatch import submit_script
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
_USABLE = shlex.quote(f"tolower($2) !~ /{client.UNUSABLE.pattern}/ {{print $1}}")
"""What `client.usable_nodes` does, for awk."""
_REQUEUE_PAUSES_S = "0 1 2 5 10 20 30"
"""Before each try of the shell to requeue a job: the controller may be restarting."""

logger = logging.getLogger(__name__)


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
        UnknownSubmissionError: Slurm may have taken the jobs; `find_jobs` finds out.
        SubmissionError: Slurm refused, or what it needs cannot be written.
    """
    files = ArrayFiles(folder=folder.submitit, key=uuid4().hex)
    try:
        with doing("writing what Slurm is to run", files.packs):
            folder.submitit.mkdir(exist_ok=True)
            files.packs.write_text("".join(f"{pack.name}\n" for pack in packs))
            executor = _Executor(files)
            setup = [
                _pickle_line(files),
                *_batch_lines(folder, files.packs),
                *_setup_lines(parameters["setup"]),
            ]
            # submitit's default is a key of its own, which sites that enforce keys refuse.
            executor.update_parameters(**{"wckey": None, **parameters, "setup": setup})
            jobs = executor.map_array(entry_point, [str(pack.path) for pack in packs])
    except OSError as error:
        raise SubmissionError(f"the jobs were not submitted: {sentence(error)}") from error
    return [job.job_id for job in jobs]


class _Executor(SlurmExecutor):
    """submitit's executor, with a call of sbatch of our own.

    submitit's gives sbatch the environment as it is, takes the first number after the word "job" in
    what it prints, and knows nothing of jobs that were taken without a word.
    """

    def __init__(self, files: ArrayFiles) -> None:
        super().__init__(files.folder)
        self._files = files

    def _internal_process_submissions(
        self, delayed_submissions: list[DelayedSubmission]
    ) -> list[Job[Any]]:
        files = self._files
        for index, delayed in enumerate(delayed_submissions):
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            delayed.dump(files.pickle(index))
        number = len(delayed_submissions)
        if number > 1:
            self.parameters["map_count"] = number
        command = self._submitit_command_str
        files.script.write_text(self._make_submission_file_text(command, files.key))
        with doing("starting sbatch", Path("sbatch")):
            job_id = submit_script(files, self.parameters["job_name"])
        ids = [job_id] if number == 1 else [f"{job_id}_{index}" for index in range(number)]
        tasks = list(range(self._num_tasks()))
        jobs: list[Job[Any]] = [SlurmJob(self.folder, each, tasks) for each in ids]
        try:
            for index, job in enumerate(jobs):
                job.paths.move_temporary_file(files.pickle(index), "submitted_pickle")
            jobs[0].paths.move_temporary_file(files.script, "submission_file", keep_as_symlink=True)
        except OSError as error:  # Slurm has the jobs, and they find their files: `_pickle_line`
            logger.warning("files do not have the names of their jobs: %s", sentence(error))
        return jobs


def _pickle_line(files: ArrayFiles) -> str:
    """Return a shell line that gives submitit's pickle the name by which the job looks for it.

    The submitting process does the same, unless it never learns the id of the job.
    """
    job = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    folder, pickle = _quoted(files.folder), files.pickle("${SLURM_ARRAY_TASK_ID:-0}").name
    return f'cp --no-clobber {folder}/"{pickle}" {folder}/"{job}_submitted.pkl" 2> /dev/null'


def _setup_lines(setup: Sequence[str]) -> list[str]:
    """Return the shell lines of the cluster config, of which one that fails ends the job.

    As with `set -e`, a condition may fail, and what stands before `||`; and so may the lines of a
    file that is sourced, if only its last one succeeds.
    """
    return [
        "setup_failed() {",
        '  [ "$3" -gt "$LAUNCH_SETUP_DEPTH" ] && return',
        "  LAUNCH_SETUP_LINE=$(($2 - LAUNCH_SETUP_START))",
        '  exit "$1"',
        "}",
        "LAUNCH_SETUP_LINE=0 LAUNCH_SETUP_DEPTH=${#BASH_SOURCE[@]}",
        "trap 'setup_failed $? $LINENO ${#BASH_SOURCE[@]}' ERR",
        "LAUNCH_SETUP_START=$LINENO",
        *setup,
        "trap - ERR",
        "LAUNCH_SETUP_LINE=",
    ]


def _batch_lines(folder: ExperimentFolder, listing: Path) -> list[str]:
    """Return shell lines before the step: `batch_end` runs after a step that left no `over` file.

    The shell must survive the stop signals, which the step handles, to run `batch_end` at its exit.
    It traps them with `:`, not with '': children inherit ignored signals, the step among them.

    A node where our Python cannot be started at all, as one whose mount of the software is away,
    fails each job at once, is idle again, and gets the next one. There the shell itself notes the
    failure of the node, and requeues the job elsewhere: not on the nodes that it was kept from
    before either, or two such nodes would pass it to and fro. If no other node is left, it may come
    back to this one, and is given up like any job that cannot start.
    """
    python = shlex.quote(sys.executable)
    name = f'"$(sed -n "$((${{SLURM_ARRAY_TASK_ID:-0}} + 1))p" {_quoted(listing)})"'
    return [
        f"LAUNCH_PACK={_quoted(folder.jobs)}/{name}",
        f"LAUNCH_PYTHON={python}",
        'rm -f "$LAUNCH_PACK/over"',
        "trap : TERM USR1 USR2",
        "leave_node() {",
        '  job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"',
        '  job="${job:-$SLURM_JOB_ID}"',
        f"  printf {_FAILED_START} $(date +%s) $SLURMD_NODENAME $job >> {_quoted(folder.nodes)}",
        # Where the pack cannot be written either, the restarts are all that can be counted.
        "  failed=${SLURM_RESTART_COUNT:-0}",
        f'  printf {_STEP_ENDED} $(date +%s) $job "$1" >> "$LAUNCH_PACK/events.jsonl" &&',
        f'    failed=$(awk {_COUNT_FAILED_STARTS} "$LAUNCH_PACK/events.jsonl")',
        f'  [ "$failed" -ge {MAX_FAILED_STARTS} ] && return',
        f"  for pause in {_REQUEUE_PAUSES_S}; do",
        "    sleep $pause",
        "    nodes=$(scontrol show job $job | sed -n 's/.* ExcNodeList=\\([^ ]*\\).*/\\1/p')",
        '    [ "$nodes" = "(null)" ] && nodes=""',
        '    nodes="${nodes:+$nodes,}$SLURMD_NODENAME"',
        '    others=$(sinfo --noheader --Node -p "$SLURM_JOB_PARTITION" --format="%N %T" |',
        f"      awk {_USABLE} | sort -u |",
        '      grep -vxFc -e "$SLURMD_NODENAME" -e "$(scontrol show hostnames "$nodes")")',
        "    scontrol requeue $job || continue",
        # A job that is kept from all nodes would wait for ever.
        '    [ "$others" -ge "${SLURM_JOB_NUM_NODES:-1}" ] &&',
        '      scontrol update JobId=$job "ExcNodeList=$nodes"',
        "    return",
        "  done",
        "}",
        "end_batch() {",
        "  set +eu; set +o pipefail; trap - ERR",  # of the setup
        '  [ -e "$LAUNCH_PACK/over" ] && return',
        '  [ -n "${LAUNCH_CODE:-}" ] && PYTHONPATH="$LAUNCH_CODE${PYTHONPATH:+:$PYTHONPATH}"',
        "  export PYTHONPATH PYTHONSAFEPATH=1",
        '  "$LAUNCH_PYTHON" -c "import launcher" 2> /dev/null',
        "  starts=$?",
        # Above 128 a signal has ended it, such as Slurm's: that says nothing about the node.
        '  if [ "$starts" -eq 0 ] || [ "$starts" -gt 128 ]; then',
        '    "$LAUNCH_PYTHON" -m launcher.job.batch_end "$LAUNCH_PACK" "$1" ${LAUNCH_SETUP_LINE:-}',
        "  else",
        '    leave_node "$1"',
        "  fi",
        "}",
        "trap 'end_batch $?' EXIT",
    ]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))

"""A call of `sbatch` whose outcome is known: it may time out, fail late, or be a site's wrapper."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import time

from attrs import frozen

from launcher.environment import for_slurm
from launcher.errors import SlurmError, SubmissionError, UnknownSubmissionError
from launcher.slurm.array_files import ArrayFiles, first_job

_TIMEOUT_S = 300.0
"""For sbatch, which by itself asks a controller that is busy again and again."""
_LOOKS_S = (0.0, 2.0, 5.0)
"""Pauses before looks into the queue: a controller that answers late may take the jobs late."""
_TAKEN = re.compile(r"Submitted batch job (\d+)")
_BARE_ID = re.compile(r"^[ \t]*(\d+)(?:;\S*)?[ \t\r]*$", re.MULTILINE)
"""As from `sbatch --parsable`, which wrappers of some sites add: the id, or the id;cluster."""
_NO_ANSWER = re.compile(
    r"timed out|no answer|zero bytes|reset by peer|broken pipe|communication|unexpected message",
    re.IGNORECASE,
)
"""What sbatch says when it does not know either; anything else is a refusal."""

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Answer:
    """What sbatch has made known."""

    job_id: str | None
    """Of the job, or of the array; None unless it was said."""
    problem: str = ""
    """Why there is no id."""
    is_refusal: bool = True
    """Whether Slurm has said no; otherwise it may have taken the jobs all the same."""


def read_answer(status: int, output: str, errors: str) -> Answer:
    """Return what sbatch, or a site's wrapper of it, says with its exit status and its output.

    Slurm's own sentence counts, whatever stands before it, and whatever failed after it.
    """
    if taken := _TAKEN.findall(output):
        return Answer(job_id=taken[-1])
    if status == 0 and (bare := _BARE_ID.findall(output)):
        return Answer(job_id=bare[-1])
    said = " ".join((errors.strip() or output.strip()).split())
    if status == 0:
        what = f"sbatch printed no id of a job, but {said!r}"
        return Answer(job_id=None, problem=what, is_refusal=False)
    is_refusal = status > 0 and bool(said) and not _NO_ANSWER.search(said)
    return Answer(job_id=None, problem=said or f"exit code {status}", is_refusal=is_refusal)


def submit_script(files: ArrayFiles, name: str) -> str:
    """Submit the script; return the id of the job or the array.

    Args:
        name: Of the jobs.

    Raises:
        UnknownSubmissionError: Slurm may have taken the jobs; `find_jobs` finds out.
        SubmissionError: It has not.
        OSError: sbatch cannot be started.
    """
    answer = _call_sbatch(files)
    if answer.job_id:
        return answer.job_id
    to_see = f"`squeue --name={shlex.quote(name)}`"
    for pause_s in _LOOKS_S[:1] if answer.is_refusal else _LOOKS_S:
        time.sleep(pause_s)
        try:
            found = first_job(files)
        except SlurmError as error:
            if answer.is_refusal:
                break
            raise UnknownSubmissionError(
                f"jobs may be queued, and it is not known which: {answer.problem}; then {error}. "
                "Their runs stay submitted. `launch status` finds the jobs as soon as Slurm "
                f"answers, as does {to_see}"
            ) from None
        if found:
            logger.warning(
                "Slurm has taken the jobs, they are in the queue as %s, though: %s",
                found,
                answer.problem,
            )
            return found
    if answer.is_refusal:
        raise SubmissionError(f"Slurm refused the jobs: {answer.problem}")
    raise SubmissionError(
        f"the jobs are not in the queue: {answer.problem}; submit again. Should {to_see} show them "
        "later, they will find nothing to do, and end"
    )


def _call_sbatch(files: ArrayFiles) -> Answer:
    try:
        done = subprocess.run(
            ["sbatch", str(files.script)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env=for_slurm(os.environ),
            check=False,
        )
    except subprocess.TimeoutExpired:
        problem = f"no answer from sbatch within {_TIMEOUT_S:g} s"
        return Answer(job_id=None, problem=problem, is_refusal=False)
    return read_answer(done.returncode, done.stdout, done.stderr)

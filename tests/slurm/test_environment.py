"""Where a job is submitted from makes no difference, and neither do the words of sbatch."""

import os
import shutil
import subprocess

import pytest

from scripts.workloads.checkout import LAUNCH
from tests.launcher.test_environment import RANK_VARIABLES
from tests.slurm.test_jobs import QUICK, write_cluster

pytestmark = pytest.mark.slurm

SUBMIT = ("submit", "naps.yaml", "--cluster=sandbox", "--allow-invalid", *QUICK)
OF_THE_SHELL = {
    "SBATCH_EXPORT": "NONE",
    "SBATCH_NO_REQUEUE": "1",
    "SBATCH_PARTITION": "no-such",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_WAIT": "1",
    "SCANCEL_STATE": "SUSPENDED",
    "SLURM_CPU_BIND": "map_cpu:99",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_TIME_FORMAT": "relative",
    "SQUEUE_FORMAT": "%u",
    **dict.fromkeys(RANK_VARIABLES, "2"),
}


def script_of(workplace):
    """The batch script, without the part of its file names that each submission has of its own."""
    (listing,) = workplace.experiment.submitit.glob("packs-*.txt")
    (script,) = workplace.experiment.submitit.glob("*_submission.sh")
    return script.read_text().replace(listing.stem.removeprefix("packs-"), "KEY")


def put_before(workplace, monkeypatch, program, text):
    """A site's own program, which is found before that of Slurm."""
    path = workplace.folder / "bin" / program
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)


def test_from_within_a_job_it_is_the_same_job(sandbox, workplace, monkeypatch):
    """Byte for byte of its script, and it trains, with the modules of the user's PYTHONPATH."""
    (workplace.folder / "modules").mkdir()
    (workplace.folder / "modules" / "from_a_module.py").touch()
    with (workplace.folder / "naps.py").open("a") as file:
        file.write("\nimport from_a_module\n")
    monkeypatch.setenv("PYTHONPATH", str(workplace.folder / "modules"), prepend=os.pathsep)
    workplace.launch(*SUBMIT)
    workplace.wait_for_end()
    script = script_of(workplace)
    shutil.rmtree(workplace.experiment.path)
    for name, value in OF_THE_SHELL.items():
        monkeypatch.setenv(name, value)

    salloc = ["env", "-u", "SLURM_EXPORT_ENV", "salloc", "--ntasks=1", "--mem-per-cpu=50M"]
    done = subprocess.run([*salloc, *LAUNCH, *SUBMIT], cwd=workplace.folder, timeout=60)

    assert done.returncode == 0
    assert script_of(workplace) == script
    workplace.wait_for_end()
    assert workplace.state().attempts == {"finished": 1}


def test_a_step_gets_what_the_batch_script_exports(sandbox, workplace):
    """Where the site has sbatch export nothing, srun would do the same."""
    write_cluster(workplace, setup=["export SLURM_EXPORT_ENV=NONE"])

    workplace.submit(*QUICK, cluster="own")

    workplace.wait_for_end()
    assert workplace.state().attempts == {"finished": 1}


def test_jobs_that_were_taken_without_a_word(sandbox, workplace, monkeypatch):
    """They are recorded, have their files, and train."""
    put_before(
        workplace,
        monkeypatch,
        "sbatch",
        '#!/bin/sh\n/usr/bin/sbatch "$@" >/dev/null\necho "Socket timed out" >&2\nexit 1\n',
    )

    workplace.submit(*QUICK, "sweep.seed=[1, 2]", "--pack=none")

    assert workplace.job("seed-2").endswith("_1")
    for name in ("seed-1", "seed-2"):
        workplace.wait_for_end(name)
        assert workplace.state(name).attempts == {"finished": 1}


def test_jobs_of_a_submission_that_was_killed_train(sandbox, workplace, monkeypatch):
    """Nobody has recorded the job; it is seen in the queue, and finds its pack by itself."""
    write_cluster(workplace, sbatch={"hold": True})
    put_before(workplace, monkeypatch, "sbatch", '#!/bin/sh\n/usr/bin/sbatch "$@"\nkill -9 $PPID\n')
    words = ("submit", "naps.yaml", "--cluster=own", "--allow-invalid")
    workplace.launch(*words, *QUICK, code=-9)
    monkeypatch.undo()

    seen = workplace.launch("status")
    workplace.launch(*words, *QUICK, code=3)  # nothing is due

    assert "waits in the queue: JobHeldUser" in seen
    (job,) = sandbox.run("squeue", "--noheader", "--format=%i").split()
    sandbox.run("scontrol", "release", job)
    workplace.wait_for_end()
    assert workplace.state().attempts == {"finished": 1}
    assert workplace.job() == job


def test_a_setup_line_that_fails_is_told(sandbox, workplace):
    """The second node fails alike; no node is blamed, and the run can be submitted again."""
    write_cluster(workplace, setup=["true", "module load no-such-module"])
    workplace.submit(*QUICK, cluster="own")

    sandbox.wait_for(lambda: workplace.state().status == "failed")

    told = workplace.launch("explain", "naps")
    assert "the setup line `module load no-such-module` failed with exit code 127" in told
    assert not workplace.experiment.nodes.exists()
    ended = [each["node"] for each in workplace.pack_events() if each["event"] == "step ended"]
    assert len(set(ended)) == 2

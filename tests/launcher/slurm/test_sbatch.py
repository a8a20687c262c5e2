"""What Slurm has taken is known, whatever sbatch does and says."""

import shutil
import subprocess

import pytest

from launcher.errors import SubmissionError, UnknownSubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.slurm import sbatch
from launcher.slurm.array_files import find_jobs
from launcher.slurm.sbatch import read_answer
from launcher.slurm.submit import submit_array
from tests.launcher.test_environment import GPU_VARIABLES, RANK_VARIABLES, SLURM_VARIABLES

TAKEN = "Submitted batch job 12\n"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
REFUSED = "sbatch: error: Batch job submission failed: Invalid account"


@pytest.mark.parametrize(
    ("status", "output", "errors", "job_id"),
    [
        (0, TAKEN, "", "12"),
        (0, "Submitted batch job 12 on cluster east\n", "", "12"),
        (0, "12\n", "", "12"),
        (0, "12;east\n", "", "12"),
        (0, "Note: this is job 3 of 50 allowed today\n" + TAKEN, "", "12"),
        (0, "Note: this is job 3 of 50\n12\n", "", "12"),
        (0, "Submitted batch job 3 is not what you asked for\n" + TAKEN + "50 left\n", "", "12"),
        (0, f"{TAKEN}7\n", "", "12"),
        (1, TAKEN, "the hook of the site has failed", "12"),
        (1, "12\n", REFUSED, None),
        (0, "Your job 12 was submitted\n", "", None),
        (0, "", "", None),
    ],
)
def test_the_id_is_read_from_what_is_printed(status, output, errors, job_id):
    """Slurm's own sentence counts, the last one; else the last line that is a number alone."""
    assert read_answer(status, output, errors).job_id == job_id


@pytest.mark.parametrize(
    ("status", "errors", "is_refusal"),
    [
        (1, REFUSED, True),
        (1, "sbatch: error: Unable to contact slurm controller (connect failure)", True),
        (1, TIMED_OUT, False),
        (1, "Zero Bytes were transmitted or received", False),
        (1, "", False),
        (-9, "", False),
        (0, "", False),
    ],
)
def test_a_failure_that_says_nothing_is_no_refusal(status, errors, is_refusal):
    """Slurm may have taken the jobs."""
    assert read_answer(status, "", errors).is_refusal == is_refusal


class Site:
    """Programs in the place of Slurm's: sbatch notes what it gets, squeue shows some jobs."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.experiment = ExperimentFolder(folder / "it's mine")
        self.packs = [self.experiment.pack(f"pack-000{number}") for number in range(3)]
        self.experiment.jobs.mkdir(parents=True)
        self.parameters = {"job_name": "launch-mine", "time": 5, "setup": ["module load cuda"]}
        (folder / "bin").mkdir()
        self.says("srun", "")
        self.sbatch(f"echo '{TAKEN}'")
        self.squeue('[ -e queue ] && while read i; do printf "%-64s%s\\n" $i "$(cat script)"; done')
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        monkeypatch.setattr(sbatch, "_LOOKS_S", (0.0, 0.0, 0.0))

    def says(self, program, lines):
        path = self.folder / "bin" / program
        path.write_text(f'#!/bin/bash\ncd "{self.folder}"\n{lines}\n')
        path.chmod(0o755)

    def sbatch(self, lines):
        """It does this once it has noted its script and environment."""
        self.says("sbatch", f'env -0 | sort -z >environment; echo "$1" >script; {lines}')

    def squeue(self, lines):
        self.says("squeue", f'echo "$@" >>looks; {lines} <queue')

    def takes(self, *job_ids):
        """What squeue shows from now on."""
        (self.folder / "queue").write_text("".join(f"{each}\n" for each in job_ids))

    def submit(self, number=2):
        return submit_array(self.experiment, self.packs[:number], self.parameters, print)

    @property
    def environment(self):
        noted = (self.folder / "environment").read_text().split("\0")
        return {line for line in noted if not line.startswith(("_=", "SHLVL="))}

    @property
    def script(self):
        """Without the key, which no two submissions share."""
        (path,) = self.experiment.submitit.glob("*_submission.sh")
        key = (self.folder / "script").read_text().rpartition("-")[2].removesuffix(".sh\n")
        text = path.read_text()
        assert key in text
        return text.replace(key, "KEY")


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path, monkeypatch)


@pytest.mark.parametrize("number", [1, 2])
def test_jobs_have_their_files(site, number):
    """What submitit runs in each job bears the id of the job."""
    ids = site.submit(number)

    assert ids == (["12"] if number == 1 else ["12_0", "12_1"])
    names = {path.name for path in site.experiment.submitit.glob("*.pkl")}
    assert names == {f"{job_id}_submitted.pkl" for job_id in ids}
    assert (site.experiment.submitit / "12_submission.sh").exists()
    assert not (site.folder / "looks").exists()


def test_it_is_the_same_job_wherever_it_is_submitted(site, monkeypatch):
    """Byte for byte, the environment as well: whatever of Slurm and of ranks the shell has set."""
    site.submit()
    environment, script = site.environment, site.script
    shutil.rmtree(site.experiment.submitit)
    for name in (*SLURM_VARIABLES, *GPU_VARIABLES, *RANK_VARIABLES):
        monkeypatch.setenv(name, "2")

    site.submit()

    assert site.environment == environment
    assert site.script == script


@pytest.mark.parametrize(
    "failure",
    [
        f"echo '{TIMED_OUT}' >&2; exit 1",
        "kill -9 $$",
        "echo thank you",
        f"echo '{REFUSED}' >&2; exit 1",
    ],
)
def test_jobs_that_slurm_has_taken_without_a_word(site, caplog, failure):
    """They are in the queue, under the path of their script."""
    site.takes("12_1", "12_0")
    site.sbatch(failure)

    assert site.submit() == ["12_0", "12_1"]

    assert "Slurm has taken the jobs, they are in the queue as 12" in caplog.text
    assert len(list(site.experiment.submitit.glob("12_*_submitted.pkl"))) == 2


def test_a_call_that_hangs_is_ended(site, monkeypatch):
    """As one whose environment, or whose site, makes it wait for the job."""
    monkeypatch.setattr(sbatch, "_TIMEOUT_S", 0.2)
    site.takes("12_0")
    site.sbatch("exec sleep 60")

    assert site.submit() == ["12_0", "12_1"]


def test_jobs_that_are_not_in_the_queue_were_not_taken(site):
    """Slurm is asked again, since it may take its time; the message says how to look."""
    site.sbatch(f"echo '{TIMED_OUT}' >&2; exit 1")
    site.takes()

    with pytest.raises(
        SubmissionError, match=r"not in the queue: .*squeue --name=launch-mine"
    ) as e:
        site.submit()

    assert not isinstance(e.value, UnknownSubmissionError)
    assert len((site.folder / "looks").read_text().splitlines()) == 3


def test_a_refusal_is_told_in_slurm_s_words(site):
    """Whether or not the queue can be seen."""
    site.sbatch(f"echo '{REFUSED}' >&2; exit 1")
    site.squeue("exit 1")

    with pytest.raises(SubmissionError, match=r"^Slurm refused the jobs: .*Invalid account$"):
        site.submit()


def test_an_sbatch_that_cannot_be_started_is_named(site, monkeypatch):
    """As what could not be done, and not the files that are written before."""
    (site.folder / "bin" / "sbatch").unlink()
    monkeypatch.setenv("PATH", f"{site.folder}/bin")

    with pytest.raises(SubmissionError, match=r"sbatch: No such file .*, while starting sbatch"):
        site.submit()


def test_jobs_of_which_nothing_is_known_are_found_later(site):
    """By their script, once Slurm answers; the job that has none of the packs is left out."""
    site.sbatch(f"echo '{TIMED_OUT}' >&2; exit 1")
    site.squeue("echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UnknownSubmissionError, match=r"jobs may be queued.*squeue --name"):
        site.submit()

    site.squeue('while read i; do printf "%-64s%s\\n" $i "$(cat script)"; done')
    site.takes("12_0", "12_1", "12_7")

    assert find_jobs(site.experiment, ["pack-0001", "pack-0002"]) == {"pack-0001": "12_1"}
    assert find_jobs(site.experiment, ["pack-0002"]) == {}


def test_a_job_finds_its_pickle_without_the_submitting_process(site):
    """Which may have died before it knew the id of the job."""
    site.sbatch(f"echo '{TIMED_OUT}' >&2; exit 1")
    site.takes()
    with pytest.raises(SubmissionError):
        site.submit()
    (script,) = site.experiment.submitit.glob("submission-*.sh")
    (line,) = [line for line in script.read_text().splitlines() if line.startswith("cp ")]

    task = {"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"}
    for job in (task, {"SLURM_JOB_ID": "12"}):
        subprocess.run(["bash", "-c", line], env={"PATH": "/usr/bin:/bin", **job}, check=True)

    first, second = (site.experiment.submitit / f"{job}_submitted.pkl" for job in ("12", "12_1"))
    assert b"pack-0000" in first.read_bytes()
    assert b"pack-0001" in second.read_bytes()

"""Dummy runs through submitit's local executor: real jobs, real processes."""

import json
import os
import pickle
import pickletools
import signal
import subprocess
import time

import pytest

from scripts.workloads.checkout import LAUNCH
from scripts.workloads.logs import json_lines
from trainers.run.lease import is_live

SWEEP = "sweep.seed=[1, 2, 3]"
LONG = "num_iterations=1000000"

pytestmark = pytest.mark.slow


def events(run):
    return json_lines(run.events)


def saved_iteration(run):
    """Of the newest checkpoint."""
    return int(max(run.checkpoints.glob("iteration-*")).name.removeprefix("iteration-"))


def ended(run):
    return [event["cause"] for event in events(run) if event["event"] == "ended"]


def test_runs_are_trained_to_their_end(workplace, tmp_path):
    """Never more at once than there are slots; submitting again changes nothing."""
    assert workplace.submit(SWEEP, "--wait") == 0
    assert "3 runs: 3 finished; iteration 15 of 15" in workplace.out

    assert workplace.launch("status", "--json") == 0
    statuses = json.loads(workplace.out)
    assert [(each["name"], each["state"], each["iteration"]) for each in statuses] == [
        ("seed-1", "finished", 5),
        ("seed-2", "finished", 5),
        ("seed-3", "finished", 5),
    ]
    assert [each["attempts"] for each in statuses] == [{"finished": 1}] * 3
    assert len({each["wandb_id"] for each in statuses}) == 3
    before = {path: path.stat().st_mtime_ns for path in workplace.experiment.runs.rglob("*")}

    assert workplace.submit(SWEEP) == 3
    assert "nothing to do: all runs are already finished, queued or running" in workplace.out
    after = {path: path.stat().st_mtime_ns for path in workplace.experiment.runs.rglob("*")}
    assert after == before


def test_a_finished_run_can_be_extended(workplace):
    """More iterations carry it on, in a second attempt, as the same W&B run."""
    workplace.submit("--wait")
    before = workplace.state()

    assert workplace.submit("num_iterations=8", "--wait") == 0

    state = workplace.state()
    assert (state.iteration, state.num_iterations) == (8, 8)
    assert state.attempts == {"finished": 2}
    assert state.wandb_id == before.wandb_id != ""
    assert workplace.run().log(1).exists()
    assert [each.name for each in sorted(workplace.experiment.jobs.iterdir())] == [
        "pack-0000",
        "pack-0001",
    ]


def test_folders_may_have_any_name(workplace, tmp_path):
    """Spaces, quotes and newlines reach every process of the job unharmed."""
    root = tmp_path / "it's a \"new\nroot"

    assert workplace.submit(f"--root={root}", "num_iterations=1", "--wait", "--json") == 0

    (status,) = json.loads(workplace.out)["statuses"]
    assert status["folder"] == str(root / "dummies" / "runs" / "dummies")


def test_the_job_is_detached(workplace):
    """Its pipes are its own, and so is its session: no Ctrl-C and no hang-up reaches it."""
    command = [*LAUNCH, *workplace.submission, LONG]
    submit = subprocess.run(command, capture_output=True, check=True)  # waits for the pipes' ends

    assert b"started in the background" in submit.stdout
    supervisor = workplace.supervisor_pid()
    assert os.getsid(supervisor) != os.getsid(0)
    workplace.wait_for_iteration()
    assert os.getsid(workplace.trainer_pid()) not in (os.getsid(0), os.getsid(supervisor))


def test_the_pickled_job_holds_the_path_of_its_pack(workplace):
    """And the name of one function; all else is read from the disk when the job starts."""
    workplace.submit()

    pack = workplace.experiment.pack("pack-0000")
    (job,) = pack.submitit.glob("*_submitted.pkl")
    submission = pickle.loads(job.read_bytes())
    assert submission.function.__module__ == "launcher.job.pack_job"
    assert (submission.args, submission.kwargs) == ((str(pack.path),), {})
    names = [argument for code, argument, _ in pickletools.genops(job.read_bytes())]
    assert "run_pack" in names


def test_preempted_runs_are_carried_on(workplace):
    """SIGTERM to the supervisor: every run checkpoints and waits; submitting again resumes it."""
    workplace.submit(SWEEP, LONG)
    workplace.wait_for_iteration("seed-2")

    os.kill(workplace.supervisor_pid(), signal.SIGTERM)
    workplace.wait()

    statuses = [workplace.status(name) for name in ("seed-1", "seed-2", "seed-3")]
    assert [status.state for status in statuses] == ["waiting"] * 3
    assert [status.attempts for status in statuses] == [{"preempted": 1}, {"preempted": 1}, {}]
    saved = saved_iteration(workplace.run("seed-2"))
    assert workplace.submit("sweep.seed=[2]", f"num_iterations={saved + 5}", "--wait") == 0
    assert workplace.state("seed-2").attempts == {"preempted": 1, "finished": 1}
    restored = [each for each in events(workplace.run("seed-2")) if each["event"] == "restored"]
    assert [each["iteration"] for each in restored] == [saved]


def test_runs_stop_with_their_supervisor(workplace):
    """After its SIGKILL they checkpoint and go, and can be carried on from there."""
    workplace.submit(LONG)
    workplace.wait_for_iteration()
    os.kill(workplace.supervisor_pid(), signal.SIGKILL)
    workplace.wait()

    status = workplace.status()
    assert status.state == "waiting"
    assert status.reason == "stopped by SIGTERM; submit again to resume"
    assert not is_live(workplace.run().lease)
    saved = saved_iteration(workplace.run())
    assert status.iteration == saved
    assert workplace.submit(f"num_iterations={saved + 1}", "--wait") == 0
    assert workplace.state().iteration == saved + 1


def test_a_run_whose_machine_died_waits(workplace):
    """Supervisor and trainer are gone without a word; the attempt is counted at the next one."""
    workplace.submit(LONG)
    workplace.wait_for_iteration()
    for pid in (workplace.supervisor_pid(), workplace.trainer_pid()):
        os.kill(pid, signal.SIGKILL)
    workplace.wait()

    status = workplace.status()
    assert (status.state, status.attempts) == ("waiting", {})
    assert "exited without recording a cause" in status.reason
    assert workplace.submit("--wait") == 0
    assert workplace.state().attempts == {"node_failure": 1, "finished": 1}


def test_cancelled_runs_end_and_can_be_carried_on(workplace):
    """Running ones after a checkpoint, waiting ones at once; a new submission undoes it."""
    workplace.submit(SWEEP, LONG)
    workplace.wait_for_iteration("seed-1")

    folders = [str(workplace.run(name).path) for name in ("seed-1", "seed-3")]
    assert workplace.launch("cancel", *folders, "--json") == 0
    first, third = json.loads(workplace.out)
    assert first["outcome"].startswith("process")
    assert third["outcome"] == "cancelled"
    assert workplace.status("seed-3").state == "cancelled"
    while not workplace.state("seed-1").attempts:
        time.sleep(0.05)
    assert workplace.state("seed-1").attempts == {"cancelled": 1}
    assert workplace.status("seed-2").state == "running"

    assert workplace.launch("cancel", folders[0]) == 0
    assert "seed-1  cancelled already" in workplace.out
    saved = saved_iteration(workplace.run("seed-1"))
    assert workplace.submit("sweep.seed=[1]", f"num_iterations={saved + 5}", "--wait") == 0
    assert workplace.state("seed-1").attempts == {"cancelled": 1, "finished": 1}


def test_a_failed_run_fails_the_waiting_command(workplace):
    """Exit code 1; the status says why, and where the log is."""
    arguments = ["architecture.arguments.groups=2", "retries.crashed=1", "--wait", "--json"]

    assert workplace.submit(*arguments) == 1

    (status,) = json.loads(workplace.out)["statuses"]
    assert (status["state"], status["attempts"]) == ("failed", {"crashed": 2})
    assert "divisible by groups" in status["reason"]
    assert "Traceback" in workplace.run().log(1).read_text()


def hear_ctrl_c():
    """Also where the tests themselves are deaf to it, as a shell's jobs in the background are."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_waiting_and_not_the_runs(workplace):
    """Exit code 130, and a word that the runs go on."""
    command = [*LAUNCH, *workplace.submission, LONG]
    waiting = subprocess.Popen(
        [*command, "--wait"],
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    while not workplace.run().metrics.exists():
        time.sleep(0.05)

    os.killpg(waiting.pid, signal.SIGINT)

    assert waiting.wait() == 130
    assert waiting.stderr.read() == b"interrupted; runs in the background continue\n"
    waiting.stderr.close()
    assert workplace.status().state == "running"


def test_debug_runs_the_first_run_in_this_process(workplace):
    """The others are named; the attempt is recorded as anywhere else."""
    command = [*LAUNCH, *workplace.submission, SWEEP, "--cluster=debug"]

    debug = subprocess.run(command, capture_output=True, text=True)

    assert debug.returncode == 0, debug.stderr
    assert debug.stdout.splitlines() == [
        "run seed-1 in this process, data workers too: experiments/dummies/runs/seed-1",
        "not run: seed-2, seed-3",
    ]
    assert "finished after 5 iterations" in debug.stderr
    assert (workplace.status("seed-1").state, ended(workplace.run("seed-1"))) == (
        "finished",
        ["finished"],
    )
    assert not workplace.run("seed-2").path.exists()

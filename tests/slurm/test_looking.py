"""How runs of a real Slurm look from outside, and how they are ended and started again."""

import json
import subprocess

import pytest

from launcher.slurm import client
from scripts.workloads.checkout import LAUNCH

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def statuses(workplace):
    """By the names of the runs."""
    found = json.loads(workplace.launch("status", "--json"))
    return {status["name"]: status for status in found}


def occupy(sandbox, seconds):
    """Preempt whatever runs, and let nothing else begin."""
    job = sandbox.submit(
        f"sleep {seconds}", "--partition=priority", "--exclusive", "--nodes=4", "--time=10"
    )
    sandbox.wait_for(lambda: sandbox.state(job) == "RUNNING")
    return job


def test_a_preempted_run_waits_for_its_job(sandbox, workplace):
    """It is on its way: seen so, explained so, not submitted twice, and followed to its end."""
    sandbox.configure()
    workplace.submit("num_iterations=200")
    workplace.wait_for_iteration(20)
    job = workplace.job()
    assert (statuses(workplace)["naps"]["state"], workplace.job()) == ("running", job)
    following = subprocess.Popen(
        [*LAUNCH, "logs", "naps", "-f"],
        cwd=workplace.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    blocker = occupy(sandbox, 60)
    sandbox.wait_for(lambda: client.queued_jobs()[job].state == "PENDING")
    sandbox.wait_for(lambda: statuses(workplace)["naps"]["job_state"] == "PENDING")

    status = statuses(workplace)["naps"]
    assert (status["state"], status["job_id"], status["is_expected"]) == ("waiting", job, True)
    assert status["reason"].startswith("preempted (SIGUSR2); stopped after a checkpoint; its job")
    assert status["attempts"] == {"preempted": 1}
    explanation = json.loads(workplace.launch("explain", "naps", "--json"))
    assert explanation["place"]["pending"]["ends_by_itself"]
    assert explanation["attempts"][0]["lost"] == 0
    assert explanation["attempts"][0]["job"] == job
    submit = ("submit", "naps.yaml", "--cluster=sandbox", "--allow-invalid")
    assert "nothing to do" in workplace.launch(*submit, "num_iterations=200", code=3)

    client.cancel([blocker])
    out, err = following.communicate(timeout=120)
    assert following.returncode == 0
    assert [line.rsplit("/", 1)[1] for line in err.splitlines()] == [
        "attempt-000.rank-0.log <==",
        "attempt-001.rank-0.log <==",
    ]
    assert "finished after 200 iterations" in out
    assert statuses(workplace)["naps"]["state"] == "finished"


def test_runs_that_wait_are_cancelled_and_started_again(sandbox, workplace):
    """Their job leaves the queue at once; the same runs go on in a new one, from their folders."""
    sandbox.configure()
    blocker = occupy(sandbox, 300)
    workplace.submit("sweep.seed=[1, 2]", "num_iterations=20")
    job = workplace.job("seed-1")
    folder = str(workplace.experiment.path)
    assert {each["state"] for each in statuses(workplace).values()} == {"submitted"}

    workplace.launch("cancel", str(workplace.run("seed-1").path))
    assert job in client.queued_jobs()
    assert [each["state"] for each in statuses(workplace).values()] == ["cancelled", "submitted"]
    outcome = workplace.launch("cancel", folder)

    assert f"cancelled; its job {job} was removed from the queue" in outcome
    assert job not in client.queued_jobs()
    client.cancel([blocker])
    (workplace.folder / "naps.yaml").unlink()
    workplace.launch("resubmit", folder, "--state=cancelled")
    assert workplace.job("seed-1") != job
    for name in ("seed-1", "seed-2"):
        workplace.wait_for_end(name)
        assert workplace.state(name).status == "finished", workplace.story(name)


def test_a_running_job_ends_once_its_runs_are_cancelled(sandbox, workplace):
    """Each run after a checkpoint; nobody needs to end the job."""
    sandbox.configure()
    workplace.submit()
    workplace.wait_for_iteration(10)
    job = workplace.job()

    workplace.launch("cancel", "experiments")

    workplace.wait_for_end()
    assert workplace.state().status == "cancelled"
    sandbox.wait_for(lambda: job not in client.queued_jobs())
    assert workplace.state().saved_iteration == workplace.state().iteration > 0


@pytest.mark.parametrize("accounting", [True, False])
def test_a_job_that_has_left_the_queue(sandbox, workplace, accounting):
    """Somebody ended it behind our back: its run waits, says so, and is due again."""
    sandbox.configure(accounting=accounting)
    blocker = occupy(sandbox, 300)
    workplace.submit("num_iterations=20")
    job = workplace.job()
    client.cancel([job])

    def is_gone():
        return statuses(workplace)["naps"]["state"] == "waiting"

    sandbox.wait_for(is_gone)
    status = statuses(workplace)["naps"]
    words = " (CANCELLED)" if accounting else ""
    assert status["reason"] == (f"its job {job} has left the queue{words}; submit again to resume")
    assert not status["is_expected"]
    client.cancel([blocker])

    assert workplace.submit("num_iterations=20")["runs"][0]["due"]
    workplace.wait_for_end()
    assert workplace.state().status == "finished", workplace.story()

"""Who is told of runs on Slurm."""

import json

import pytest

from scripts.workloads.logs import json_lines

pytestmark = pytest.mark.slurm


def add_notify(workplace, **fields):
    with (workplace.folder / "naps.yaml").open("a") as file:
        file.write(f"notify: {json.dumps(fields)}\n")


def cluster_that_holds(workplace, **sbatch):
    content = {"kind": "slurm", "description": "a test's own", "sbatch": {"hold": True, **sbatch}}
    (workplace.folder / "cluster_configs" / "own.yaml").write_text(json.dumps(content))


def test_slurm_mails(sandbox, workplace):
    """The job has the user and the types of the experiment, in place of the cluster's."""
    add_notify(workplace, mail_user="me@lab.org", mail_type=["FAIL", "TIME_LIMIT_80"])
    cluster_that_holds(workplace, mail_user="them@lab.org", mail_type="ALL")

    workplace.submit(cluster="own")

    job = sandbox.run("scontrol", "show", "job", workplace.job())
    assert "MailUser=me@lab.org MailType=FAIL,TIME_LIMIT_80" in job
    assert not workplace.experiment.notices.exists()


def test_a_job_tells_what_becomes_of_its_runs(sandbox, workplace):
    """A preempted run that goes on is not told, its end is; the variable came from the shell."""
    add_notify(
        workplace,
        command='(cat; echo " $LAUNCH_NOTIFY_TITLE") >> told',
        events=["finished", "failed", "given_up", "hang", "done"],
    )
    workplace.submit("num_iterations=200")
    workplace.wait_for_iteration(20)

    sandbox.run("scontrol", "requeue", workplace.job())
    workplace.wait_for_end()

    told = workplace.experiment.path / "told"
    sandbox.wait_for(lambda: told.exists() and len(told.read_text().splitlines()) == 2)
    first, last = told.read_text().splitlines()
    assert first.endswith("naps: run naps finished")
    assert last.endswith("naps: its run is over: 1 finished")
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}
    errors = [line["error"] for line in json_lines(workplace.experiment.notices) if "error" in line]
    assert errors == ["", ""]


def test_a_job_that_cannot_start_is_told(sandbox, workplace):
    """The batch script tells that its job was given up."""
    add_notify(workplace, command="(cat; echo) >> told")
    config = "kind: slurm\ndescription: x\nenvironment: {LAUNCH_SLOTS_DIR: /proc/1/x}\n"
    (workplace.folder / "cluster_configs" / "broken.yaml").write_text(config)
    workplace.submit(cluster="broken")

    told = workplace.experiment.path / "told"
    sandbox.wait_for(lambda: told.exists() and len(told.read_text().splitlines()) == 2, timeout=240)
    first, last = map(json.loads, told.read_text().splitlines())
    assert (first["event"], last["event"]) == ("given_up", "done")
    assert first["text"].startswith("given up: its job ended 5 times before any member began")

"""Experiments on this machine from their submission to the last message."""

import json
import os
import signal
from pathlib import Path

import pytest

from scripts.workloads.processes import is_running
from tests.fakes.http_server import serving
from tests.fakes.wandb_server import WandbServer
from tests.launcher.job.test_node_supervisor import wait_until

pytestmark = pytest.mark.slow

FAILS = ("architecture.arguments.groups=2", "retries.crashed=0")
LONG = "num_iterations=1000000"
TOKEN = "T0AB12CD3abcDEF123ghiJKL456"


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def notify(workplace, tmp_path):
    """Completes the experiment by who is told."""

    def write(**fields):
        with (tmp_path / "dummies.yaml").open("a") as file:
            file.write(f"notify: {json.dumps(fields)}\n")

    return write


def supervisor_log(workplace, pack="pack-0000"):
    (log,) = workplace.experiment.pack(pack).submitit.glob("*_log.out")
    return log.read_text()


def wait_for_supervisor(workplace, pack="pack-0000"):
    """It tells the last of it after its runs are over."""
    pid = json.loads(workplace.experiment.pack(pack).lease.read_bytes())["pid"]
    wait_until(lambda: not is_running(pid))


def titles(server):
    return [post["text"].splitlines()[0].strip("*") for post in server.posts]


def test_an_experiment_is_told_to_slack(workplace, tmp_path, server, notify):
    """Its failures in one message, and its end; the secret URL is in no file, not even in one of
    submitit's."""
    secret = tmp_path / "slack-url"
    secret.touch(0o600)
    secret.write_text(f"{server.url}/services/{TOKEN}")
    notify(url_from=f"file:{secret}", form="slack")

    assert workplace.submit("sweep.seed=[1, 2, 3]", *FAILS, "--wait") == 1
    wait_for_supervisor(workplace)

    assert titles(server) == [
        "dummies: 3 runs failed (crashed)",
        "dummies: all 3 runs are over: 3 failed",
    ]
    assert "must be divisible by groups" in server.posts[0]["text"]
    assert server.requests == [f"/services/{TOKEN}"] * 2
    files = [path for path in workplace.experiment.path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def test_resubmitted_runs_are_told_again(workplace, server, notify):
    """To whom the experiment says, although `resubmit` reads no file of it."""
    notify(url=f"{server.url}/hook", form="slack")
    assert workplace.submit(*FAILS, "--wait") == 1
    wait_for_supervisor(workplace)

    again = ("resubmit", str(workplace.experiment.path), "--state=failed", "--wait")
    assert workplace.launch(*again) == 1
    wait_for_supervisor(workplace, "pack-0001")

    assert (
        titles(server)
        == [
            "dummies: run dummies failed (crashed)",
            "dummies: its run is over: 1 failed",
        ]
        * 2
    )


def test_a_preempted_run_is_not_told(workplace, server, notify):
    """Nor is one that was cancelled; what it comes to is."""
    notify(url=f"{server.url}/hook", form="slack", events=["finished", "failed", "given_up"])
    workplace.submit(LONG)
    workplace.wait_for_iteration()
    os.kill(workplace.supervisor_pid(), signal.SIGTERM)
    workplace.wait()
    wait_for_supervisor(workplace)
    assert workplace.state().attempts == {"preempted": 1}
    assert server.posts == []

    saved = workplace.state().saved_iteration
    assert workplace.submit(f"num_iterations={saved + 3}", "--wait") == 0
    wait_for_supervisor(workplace, "pack-0001")

    assert titles(server) == ["dummies: run dummies finished"]


def test_a_run_does_not_suffer_from_who_cannot_be_told(workplace, server, notify):
    """A server that hangs and a command that fails: the supervisor's log and `launch explain` say
    so, and the run is as it would have been."""
    server.fault = lambda path, number: "stall"
    notify(url=f"{server.url}/hook", command="echo no mail here; exit 1", events=["finished"])

    assert workplace.submit("--wait") == 0
    assert workplace.state().attempts == {"finished": 1}
    wait_for_supervisor(workplace)

    assert "was not told: command: exit code 1: no mail here" in supervisor_log(workplace)
    assert workplace.launch("explain", "dummies") == 0
    assert "not told:      dummies: run dummies finished: command: exit code 1" in workplace.out
    assert "dummies: run dummies finished: webhook (json): " in workplace.out


def test_wandb_sends_an_alert(workplace, notify, monkeypatch, tmp_path):
    """About the W&B run of the folder, which stays finished."""
    server = WandbServer()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "1234567890abcdef" * 2 + "12345678")
    notify(wandb=True)
    online = "wandb={project: tests, entity: team, mode: online}"

    try:
        assert workplace.submit(online, "--wait") == 0
        wait_for_supervisor(workplace)
        (run,) = server.runs.values()
        (alert,) = server.alerts
    finally:
        server.close()

    assert run.state == "finished"
    assert (alert["runName"], alert["entityName"]) == (workplace.state().wandb_id, "team")
    assert alert["title"] == "dummies: its run is over: 1 finished"
    assert alert["severity"] == "INFO"


def test_a_webhook_that_cannot_be_used_is_said_at_the_submission(workplace, notify, monkeypatch):
    """The runs are submitted all the same."""
    monkeypatch.delenv("OUR_WEBHOOK", raising=False)
    notify(url_from="env:OUR_WEBHOOK")

    assert workplace.submit("--wait") == 0

    assert "nobody will be told by the webhook: the variable OUR_WEBHOOK is not" in workplace.err


def test_a_submission_without_notify_tells_nobody_any_more(workplace, server, notify, tmp_path):
    """Submitting again changes it, for jobs that run already, too."""
    plain = (tmp_path / "dummies.yaml").read_text()
    notify(url=f"{server.url}/hook")
    workplace.submit(LONG)
    assert workplace.experiment.notify.exists()
    workplace.wait_for_iteration()

    (tmp_path / "dummies.yaml").write_text(plain)
    assert workplace.submit(LONG) == 3

    assert not workplace.experiment.notify.exists()


def test_a_test_message(workplace, server, notify, tmp_path):
    """By each channel, with what became of it; nothing is submitted."""
    notify(
        url=f"{server.url}/hook",
        form="slack",
        command="exit 3",
        wandb=True,
        mail_user="me@lab.org",
    )

    assert workplace.launch("notify", "dummies.yaml") == 8

    assert workplace.out.splitlines() == [
        "CHANNEL          RESULT",
        "command          exit code 3",
        "webhook (slack)  sent",
        "W&B alert        no run on W&B: not submitted, or wandb.mode is not online",
        "Slurm's mail     not tried: Slurm mails me@lab.org itself, at END,FAIL of each job",
    ]
    assert titles(server) == ["dummies: a test message"]
    assert not Path("experiments").exists()


def test_nobody_to_send_a_test_message_to(workplace):
    """It says so."""
    assert workplace.launch("notify", "dummies.yaml") == 3

    assert workplace.err == "nothing to do: dummies.yaml names nobody under notify\n"

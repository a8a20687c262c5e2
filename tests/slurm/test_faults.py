"""Everything that can befall a job: the run ends as if nothing had happened."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.slurm_sandbox import daemon
from scripts.slurm_sandbox.folder import Folder
from tests.slurm.workplace import result

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

INTERVAL = 50
"""Iterations between two checkpoints."""


def watch_until_next_attempt(sandbox, workplace, timeout=120):
    """The number of iterations that were done before the run was started again."""
    done = 0

    def started_again():
        nonlocal done
        if workplace.launches() == 1:
            done = max(done, workplace.last_row() + 1)
        return workplace.launches() > 1

    sandbox.wait_for(started_again, timeout)
    return done


def check(workplace, undisturbed, done, *, max_lost):
    """The run finishes; what it lost, and what came of it."""
    workplace.wait_for_end()
    assert workplace.state().status == "finished", workplace.story()
    assert result(workplace.run()) == undisturbed(), workplace.story()
    lost = done - workplace.restored()[0]
    assert 0 <= lost <= max_lost, workplace.story()
    kinds = [each["event"] for each in workplace.pack_events()]
    assert "requeueing requeueing" not in " ".join(kinds), workplace.story()


@pytest.mark.parametrize(
    ("options", "partition", "heard", "max_lost"),
    [
        ({"user_signal": True}, "preemptible", "SIGUSR2", 0),
        ({"user_signal": False}, "preemptible", "SIGTERM", 0),
        ({"user_signal": True}, "nograce", None, INTERVAL),
        ({"user_signal": False}, "nograce", None, INTERVAL),
        ({"preempt_by": "qos"}, "preemptible", "SIGUSR2", 0),
    ],
    ids=["user-signal", "sigterm", "no-grace-user-signal", "no-grace", "by-qos"],
)
def test_preempted(sandbox, workplace, undisturbed, options, partition, heard, max_lost):
    """With a grace nothing is lost, without one at most what came after the last checkpoint."""
    sandbox.configure(**options)
    workplace.submit(f"--partition={partition}")
    workplace.wait_for_iteration(60)

    sandbox.preempt(workplace.job())

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=max_lost)
    (stopping,) = [each for each in workplace.pack_events() if each["event"] == "stopping"]
    assert stopping["cause"] == "preempted"
    assert heard is None or stopping["signal"] == heard
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}


def test_a_controller_that_restarts_at_a_preemption(sandbox, workplace, undisturbed):
    """The requeue is asked for until somebody answers: 20 s later."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    job = workplace.job()
    sandbox.preempt(job)
    sandbox.wait_for(lambda: sandbox.details(job).get("PreemptTime", "None") != "None")

    daemon.kill(Folder(sandbox.folder), "slurmctld")
    time.sleep(20)
    sandbox.configure()

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=0)
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}


@pytest.fixture
def small_disk(workplace):
    """The experiments are on a file system of 16 MiB, which the test may fill."""
    disk = workplace.experiment.path.parent
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk, *, but=0):
    """Until nothing fits but so many bytes."""
    with (disk / "full").open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(file.tell() - but)


def test_a_full_disk_at_a_requeue(sandbox, workplace, undisturbed, small_disk):
    """No checkpoint and no event can be written when the job is preempted, until 20 s later."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    job = workplace.job()
    fill(small_disk)

    sandbox.preempt(job)
    time.sleep(20)
    (small_disk / "full").unlink()

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=2 * INTERVAL)
    assert workplace.job() == job


def test_a_job_that_cannot_start_is_given_up(sandbox, workplace):
    """After five starts, and the run says what the last one died of."""
    config = "kind: slurm\ndescription: x\nenvironment: {LAUNCH_SLOTS_DIR: /proc/1/x}\n"
    (workplace.folder / "cluster_configs" / "broken.yaml").write_text(config)
    workplace.submit(cluster="broken")

    sandbox.wait_for(lambda: workplace.state().status.is_over, timeout=240)

    assert workplace.state().status == "failed"
    assert "given up: its job ended 5 times before any member began" in workplace.state().reason
    assert "/proc/1/x" in workplace.state().reason
    ends = [each for each in workplace.pack_events() if each["event"] == "step ended"]
    assert [end["node"].startswith("n") for end in ends] == [True] * 5
    assert all("/proc/1/x" in end["error"] for end in ends)


def test_time_limit(sandbox, workplace):
    """The job hears of its end a while before, and comes back."""
    workplace.submit("--time=00:01:00", "architecture.arguments.seconds=0.15")

    done = watch_until_next_attempt(sandbox, workplace)

    workplace.wait_for_end()
    attempts = workplace.state().attempts
    assert attempts == {"time_limit": attempts["time_limit"], "finished": 1}
    assert done == workplace.restored()[0]


def test_requeued_by_hand(sandbox, workplace, undisturbed):
    """`scontrol requeue` leaves the run a few seconds, which are enough for a checkpoint."""
    workplace.submit()
    workplace.wait_for_iteration(60)

    sandbox.run("scontrol", "requeue", workplace.job())

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)


def test_node_set_down(sandbox, workplace, undisturbed):
    """The job goes on elsewhere, or there once the node is back."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    node = sandbox.details(workplace.job())["NodeList"]

    sandbox.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)


def test_lost_node_whose_task_lives_on(sandbox, workplace):
    """slurmd dies, the trainer does not: the next attempt takes over, and fences it off."""
    workplace.submit("num_iterations=3000")
    workplace.wait_for_iteration(60)
    node, pid = sandbox.details(workplace.job())["NodeList"], workplace.trainer_pid()

    sandbox.kill_slurmd(node)

    watch_until_next_attempt(sandbox, workplace)
    sandbox.wait_for(lambda: workplace.restored())
    assert workplace.trainer_pid() != pid
    sandbox.wait_for(lambda: not Path(f"/proc/{pid}").exists(), timeout=30)
    assert workplace.state().attempts == {"node_failure": 1}
    sandbox.start_slurmd(node)
    workplace.launch("cancel", str(workplace.run().path))
    workplace.wait_for_end()
    assert workplace.state().attempts == {"node_failure": 1, "cancelled": 1}


def test_lost_node_that_comes_back(sandbox, workplace, undisturbed):
    """What lives on there goes before that, or Slurm would end the next start along with it."""
    workplace.submit("architecture.arguments.seconds=0.2")
    workplace.wait_for_iteration(30)
    node, pids = sandbox.details(workplace.job())["NodeList"], workplace.rank_pids()
    pids.append(workplace.supervisor_pid())
    others = ",".join({"n1", "n2", "n3", "n4"} - {node})
    sandbox.run("scontrol", "update", f"nodename={others}", "state=drain", "reason=test")

    sandbox.kill_slurmd(node)

    sandbox.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert workplace.launches() == 1
    assert workplace.state().status == "waiting", workplace.story()
    sandbox.start_slurmd(node)
    workplace.wait_for_end()
    assert workplace.state().status == "finished", workplace.story()
    assert result(workplace.run()) == undisturbed(), workplace.story()


def test_killed_trainer(sandbox, workplace, undisturbed):
    """It is started again in its place; the job goes on."""
    workplace.submit()
    workplace.wait_for_iteration(60)

    os.kill(workplace.trainer_pid(), signal.SIGKILL)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)
    assert workplace.state().attempts == {"crashed": 1, "finished": 1}
    assert sandbox.details(workplace.job())["Restarts"] == "0"


def test_killed_supervisor(sandbox, workplace, undisturbed):
    """The trainer saves and goes, and the batch script brings the job back."""
    workplace.submit()
    workplace.wait_for_iteration(60)

    os.kill(workplace.supervisor_pid(), signal.SIGKILL)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)


def test_killed_step(sandbox, workplace, undisturbed):
    """All processes of the step at once."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    pids = [workplace.supervisor_pid(), workplace.trainer_pid()]

    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)


def test_a_job_that_may_not_be_requeued(sandbox, workplace, undisturbed):
    """It submits itself anew, alone, and the job that it was does not come back."""
    config = "kind: slurm\ndescription: no scontrol on its nodes\nrequeue: resubmit\n"
    (workplace.folder / "cluster_configs" / "strict.yaml").write_text(config)
    workplace.submit(cluster="strict")
    workplace.wait_for_iteration(60)
    first = workplace.job()

    sandbox.preempt(first)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=0)
    assert workplace.job() != first
    assert [each["event"] for each in workplace.pack_events()] == [
        "started",
        "began",
        "stopping",
        "resubmitted",
        "started",
        "began",
        "ended",
    ]


def test_a_preempted_job_that_its_user_forbids_to_requeue(sandbox, workplace, undisturbed):
    """Slurm ends it where it would requeue it; nobody has cancelled it, so it is submitted anew."""
    workplace.submit("--partition=nograce")
    workplace.wait_for_iteration(60)
    first = workplace.job()
    sandbox.run("scontrol", "update", f"JobId={first}", "Requeue=0")

    sandbox.preempt(first)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)
    assert workplace.job() != first
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}


def test_a_preempted_job_that_is_over_is_not_started_again(sandbox, workplace):
    """Slurm 24.05 would requeue it once more, since it was preempted before."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    sandbox.preempt(workplace.job())

    workplace.wait_for_end()

    sandbox.wait_for(lambda: sandbox.details(workplace.job())["Requeue"] == "0")


def test_a_requeued_job_that_had_been_replaced_does_nothing(sandbox, workplace, undisturbed):
    """Slurm may bring it back all the same, as it does without a grace."""
    config = "kind: slurm\ndescription: no scontrol on its nodes\nrequeue: resubmit\n"
    (workplace.folder / "cluster_configs" / "strict.yaml").write_text(config)
    workplace.submit("--partition=nograce", cluster="strict")
    workplace.wait_for_iteration(60)

    sandbox.preempt(workplace.job())

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)
    assert workplace.state().num_attempts == 2


def test_a_cancelled_job_stays_cancelled(sandbox, workplace):
    """`scancel` ends the run after a checkpoint; nothing brings it back."""
    workplace.submit()
    workplace.wait_for_iteration(60)
    job = workplace.job()

    sandbox.run("scancel", job)

    workplace.wait_for_end()
    assert workplace.state().attempts == {"cancelled": 1}
    assert workplace.state().saved_iteration >= 60
    sandbox.wait_for(lambda: not sandbox.run("squeue", "--noheader", f"--jobs={job}"))
    assert sandbox.state(job) == "CANCELLED"

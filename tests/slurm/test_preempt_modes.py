"""Preemptions after which Slurm does not requeue a job itself, and suspensions."""

import time

import pytest

from tests.slurm.test_faults import INTERVAL, check, watch_until_next_attempt
from tests.slurm.workplace import result

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SCONTROL = """#!/bin/bash
real=$(PATH=${PATH#*:} command -v scontrol)
"""
SLOW = '"$real" "$@" || exit; [ "$1" != requeue ] || sleep 3\n'
AWAY = '[ "$1" != requeue ] || { echo "Unable to contact slurm controller" >&2; exit 1; }\n'
SUSPENDED_S = 15


def write_cluster(workplace, lines):
    text = f"kind: slurm\ndescription: a test's own\n{lines}\n"
    (workplace.folder / "cluster_configs" / "own.yaml").write_text(text)


def put_before_slurm(workplace, scontrol):
    """Have the jobs of a cluster `own` use another `scontrol`."""
    programs = workplace.folder / "programs"
    programs.mkdir()
    (programs / "scontrol").write_text(SCONTROL + scontrol)
    (programs / "scontrol").chmod(0o755)
    write_cluster(workplace, f'setup: ["export PATH={programs}:$PATH"]')


@pytest.mark.parametrize(("partition", "max_lost"), [("cancel", INTERVAL), ("cancel-grace", 0)])
def test_preempted_where_slurm_cancels(sandbox, workplace, undisturbed, partition, max_lost):
    """Nobody has cancelled the run: it goes on, whether or not it had a grace.

    Its `scontrol` outlives the requeue, and is ended by the signal that follows: still the pack
    has one job.
    """
    put_before_slurm(workplace, SLOW)
    workplace.submit(f"--partition={partition}", cluster="own")
    workplace.wait_for_iteration(60)
    job = workplace.job()

    sandbox.preempt(job)

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=max_lost)
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}
    assert "resubmitted" not in {event["event"] for event in workplace.pack_events()}
    assert workplace.job() == job


def test_a_job_that_is_gone_is_healed(sandbox, workplace, undisturbed):
    """Slurm has killed its processes before the controller heard them."""
    put_before_slurm(workplace, AWAY + 'exec "$real" "$@"\n')
    workplace.submit("--partition=cancel", cluster="own")
    workplace.wait_for_iteration(60)
    job = workplace.job()
    sandbox.preempt(job)
    sandbox.wait_for(lambda: sandbox.state(job) == "PREEMPTED")

    workplace.launch("status", "--heal")

    done = watch_until_next_attempt(sandbox, workplace)
    check(workplace, undisturbed, done, max_lost=INTERVAL)
    assert workplace.job() != job
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}


def test_a_suspended_job_goes_on(sandbox, workplace, undisturbed):
    """As by gang scheduling, and for longer than any bound of the watchdog: it has not hung."""
    write_cluster(workplace, "environment: {LAUNCH_WATCHDOG_MIN_S: 5}")
    workplace.submit(cluster="own")
    workplace.wait_for_iteration(60)
    job = workplace.job()

    sandbox.run("scontrol", "suspend", job)
    time.sleep(SUSPENDED_S)
    assert "running" in workplace.launch("status")
    workplace.launch("status", "--heal", code=3)
    sandbox.run("scontrol", "resume", job)

    workplace.wait_for_end()
    assert result(workplace.run()) == undisturbed(), workplace.story()
    assert workplace.state().attempts == {"finished": 1}

"""Hangs in each section of real trainers, and what only looks like a hang."""

import json
import os
import signal
import time

import pytest

from launcher.job.attempt_end import attempt_end
from launcher.job.member_ranks import joint_status
from launcher.job.record_end import log_tail
from scripts.workloads.hangs import IN_A_PROCESS, leave_act, worker_of, write_hanging_run
from scripts.workloads.logs import json_lines
from scripts.workloads.processes import is_running
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import outcome
from trainers import exit_codes
from trainers.run.run_state import RunState, read_state, write_state
from trainers.run.watchdog import MIN_BOUND_VARIABLE

pytestmark = pytest.mark.slow

HANGING_FSYNC = """
import os, threading, time
from pathlib import Path

fsync, trigger = os.fsync, Path(__file__).with_name("hang")

def hang(descriptor):
    while trigger.exists() and threading.current_thread().name.startswith("checkpoint"):
        time.sleep(0.1)
    fsync(descriptor)

os.fsync = hang
"""
MIN_BOUND_S = 6.0
SLOW_S = 2 * MIN_BOUND_S


@pytest.fixture(autouse=True)
def short_bounds(monkeypatch):
    monkeypatch.setenv(MIN_BOUND_VARIABLE, str(MIN_BOUND_S))


@pytest.fixture
def make_run(tmp_path):
    def make(name="run", dotted=None, **changes):
        return write_hanging_run(tmp_path, name, dotted, **changes)

    return make


@pytest.fixture
def first_on_path(tmp_path, monkeypatch):
    """A folder whose modules are found before all others."""
    folder = tmp_path / "first"
    folder.mkdir()
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), before))))
    return folder


def last_line(run, number=0, rank=0):
    return run.log(number, rank).read_text().splitlines()[-1]


def cause_of(run, statuses, rank=0):
    """As the supervisor finds it."""
    return attempt_end(
        joint_status(statuses),
        cancel_requested=False,
        stop=None,
        killed_after_s=None,
        out_of_memory=False,
        log_tail=log_tail(run.log(0, rank)),
    )


def test_a_step_that_hangs_ends_the_attempt_and_costs_no_bit(make_run, tmp_path):
    """The next attempt goes on from the last checkpoint, to the same bits."""
    undisturbed = make_run("undisturbed", num_iterations=60)
    assert Attempt(undisturbed).end() == [exit_codes.FINISHED]
    run = make_run(num_iterations=60)
    attempt = Attempt(run)
    attempt.wait_for_iteration(21)
    leave_act(tmp_path, "sleep")

    assert attempt.end() == [exit_codes.HANG]

    assert "hang: no progress in section step" in last_line(run)
    assert "in sleep (hanging_net.py:" in last_line(run)
    assert "Current thread" in run.log(0).read_text()
    end = cause_of(run, [exit_codes.HANG])
    assert (end.cause, end.can_be_retried) == ("hang", True)
    assert end.reason.startswith("hang: no progress in section step")
    assert Attempt(run, number=1).end() == [exit_codes.FINISHED]
    assert outcome(run) == outcome(undisturbed)


def test_a_call_that_keeps_the_gil_cannot_stop_the_watchdog(make_run, tmp_path):
    """The operating system's timer ends the process, with the stacks in its log."""
    run = make_run()
    attempt = Attempt(run)
    while "step" not in read_state(run).slowest_sections_s:  # before, it may take long to compile
        assert attempt.ranks[0].poll() is None, attempt.logs()
        time.sleep(0.1)
    leave_act(tmp_path, "keep_the_gil")

    assert attempt.end() == [-signal.SIGALRM]

    log = run.log(0).read_text()
    assert "Timeout (" in log
    assert "in keep_the_gil" in log
    assert cause_of(run, [-signal.SIGALRM]).cause == "hang"


def test_an_import_that_hangs_is_ended(make_run, tmp_path):
    """The bound is that of an earlier attempt."""
    run = make_run()
    write_state(run, RunState(slowest_sections_s={"start": 1.0}))
    leave_act(tmp_path, "sleep_at_import")

    assert Attempt(run).end() == [exit_codes.HANG]

    assert "hang: no progress in section start" in last_line(run)
    assert "hanging_net.py" in last_line(run)


def test_a_worker_process_that_is_stopped_is_noticed_and_ended(make_run):
    """The samples that it was to make never come."""
    run = make_run(dotted=IN_A_PROCESS)
    attempt = Attempt(run)
    attempt.wait_for_iteration(3)
    worker = worker_of(attempt.ranks[0].pid)
    os.kill(worker, signal.SIGSTOP)

    assert attempt.end() == [exit_codes.HANG]

    assert "hang: no progress in section data" in last_line(run)
    assert "worker_main.py" in run.log(0).read_text()
    for _ in range(1200):  # it was killed, and takes a moment to end
        if not is_running(worker):
            break
        time.sleep(0.05)
    assert not is_running(worker)


def test_a_save_that_hangs_is_ended(make_run, tmp_path, first_on_path):
    """The file system hangs as a checkpoint is made durable; training goes on meanwhile."""
    run = make_run(dotted={"checkpoint.every_iterations": 5})
    (first_on_path / "sitecustomize.py").write_text(HANGING_FSYNC)
    attempt = Attempt(run)
    attempt.wait_for_iteration(6)
    (first_on_path / "hang").touch()

    assert attempt.end() == [exit_codes.HANG]

    assert "hang: no progress in section save" in last_line(run)


def test_an_end_that_hangs_is_ended(make_run, tmp_path):
    """What is registered with atexit, of a second attempt: the first one has recorded its end."""
    run = make_run()
    attempt = Attempt(run)
    attempt.wait_for_iteration(3)
    attempt.ranks[0].send_signal(signal.SIGTERM)
    assert attempt.end() == [exit_codes.STOPPED]
    leave_act(tmp_path, "sleep_at_exit")
    attempt = Attempt(run, number=1)
    attempt.wait_for_iteration(read_state(run).iteration + 3)
    attempt.ranks[0].send_signal(signal.SIGTERM)

    assert attempt.end() == [exit_codes.HANG]

    assert "hang: no progress in section close" in last_line(run, number=1)


def test_another_rank_knows_the_bounds_from_the_beginning(make_run, tmp_path):
    """Those that rank 0 has recorded: the first step of its second attempt compiles nothing."""
    run = make_run()
    write_state(run, RunState(slowest_sections_s={"step": 0.0}))
    leave_act(tmp_path, "sleep", rank=1)

    assert Attempt(run, size=2).end()[1] == exit_codes.HANG

    assert "hang: no progress in section step" in last_line(run, rank=1)


def test_of_two_ranks_the_one_that_hangs_is_named(make_run, tmp_path):
    """The other one waits for it in a collective operation, and is not at fault."""
    run = make_run()
    attempt = Attempt(run, size=2)
    attempt.wait_for_iteration(3)
    leave_act(tmp_path, "sleep", rank=1)

    statuses = attempt.end()

    assert statuses[1] == exit_codes.HANG
    assert "in sleep (hanging_net.py:" in last_line(run, rank=1)
    assert cause_of(run, statuses, rank=1).cause == "hang"


def test_a_rank_that_is_stopped_ends_the_others(make_run):
    """It cannot watch itself."""
    run = make_run()
    attempt = Attempt(run, size=2)
    attempt.wait_for_iteration(3)
    attempt.ranks[1].send_signal(signal.SIGSTOP)

    assert attempt.ranks[0].wait(timeout=180) == exit_codes.HANG

    attempt.kill()
    assert "hang: no progress in section" in last_line(run)


@pytest.mark.parametrize("size", [1, 2])
def test_a_suspension_is_no_hang(make_run, size):
    """As by gang scheduling: all processes stop, for longer than any bound, and go on."""
    run = make_run()
    attempt = Attempt(run, size=size)
    attempt.wait_for_iteration(3)
    for rank in attempt.ranks:
        rank.send_signal(signal.SIGSTOP)
    time.sleep(4 * MIN_BOUND_S)
    before = json_lines(run.metrics)[-1]["iteration"]
    for rank in attempt.ranks:
        rank.send_signal(signal.SIGCONT)

    attempt.wait_for_iteration(before + 50)
    for rank in attempt.ranks:
        rank.send_signal(signal.SIGTERM)
    assert attempt.end() == [exit_codes.STOPPED] * size


def test_the_first_step_of_a_run_may_be_slow(make_run, tmp_path):
    """It compiles: nothing is known about the steps of this run yet."""
    run = make_run(num_iterations=3)
    leave_act(tmp_path, "sleep", seconds=SLOW_S)

    assert Attempt(run).end() == [exit_codes.FINISHED]


def test_a_rank_waits_for_one_that_makes_progress(make_run, tmp_path):
    """However long: here rank 1 is in its first step, which has no bound yet."""
    run = make_run(num_iterations=3)
    write_state(run, RunState(slowest_sections_s={"collective": 0.0}))
    leave_act(tmp_path, "be_late", rank=1, seconds=SLOW_S)

    assert Attempt(run, size=2).end() == [exit_codes.FINISHED] * 2


def test_w_and_b_that_hangs_is_reported_and_ends_nothing(make_run, first_on_path):
    """The training goes on without it."""
    (first_on_path / "wandb.py").write_text("import time\ntime.sleep(1000)\n")
    run = make_run(dotted={"wandb.mode": "offline"})
    write_state(run, RunState(slowest_sections_s={"wandb": 0.0}))
    attempt = Attempt(run)
    while "W&B silent" not in [event["event"] for event in json_lines(run.events)]:
        assert attempt.ranks[0].poll() is None, attempt.logs()
        time.sleep(0.1)
    assert "W&B does not answer" in json.loads(run.state.read_text())["concern"]

    attempt.ranks[0].send_signal(signal.SIGTERM)

    assert attempt.end() == [exit_codes.STOPPED]

"""A run over two nodes with two GPUs each."""

import os
import signal

import pytest

from tests.slurm.workplace import Workplace, result
from trainers.run.lease import read_lease

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

WIDE = "resources={nodes: 2, gpus: 2, cpus: 2, memory_gb: 2, time: '00:30:00'}"
SURE = "architecture.arguments.dropout=0"
SHORT = "num_iterations=150"


@pytest.fixture
def make_workplace(tmp_path, sandbox):
    """Several, each with an experiment of its own."""

    def make(name):
        (tmp_path / name).mkdir()
        return Workplace(tmp_path / name)

    return make


def test_ranks_on_two_nodes(sandbox, make_workplace):
    """Stopped and killed, it ends bit for bit like one that was not, and as a single rank would.

    The losses of a single rank are the same up to rounding: so the samples are the same.
    """
    single, wide, stopped = map(make_workplace, ("single", "wide", "stopped"))
    single.submit(SURE, SHORT)
    wide.submit(WIDE, SURE, SHORT)
    stopped.submit(WIDE, SURE, SHORT)
    stopped.wait_for_iteration(60)

    sandbox.run("scontrol", "requeue", stopped.job())
    sandbox.wait_for(lambda: len(stopped.restored()) == 1, timeout=120)
    stopped.wait_for_iteration(stopped.restored()[0] + 30)
    for pid in stopped.rank_pids():
        os.kill(pid, signal.SIGKILL)
    for workplace in (single, wide, stopped):
        workplace.wait_for_end(timeout=240)

    assert stopped.state().attempts == {"preempted": 1, "crashed": 1, "finished": 1}
    assert result(stopped.run()) == result(wide.run())
    losses, others = ([row["loss"] for row in result(each.run())[1]] for each in (wide, single))
    assert losses == pytest.approx(others, rel=1e-4, abs=1e-7)
    assert len(losses) == 150
    nodes = {event["node"] for event in wide.events() if event["event"] == "launched"}
    assert len(nodes) == 2
    assert sorted(path.name for path in wide.run().logs.iterdir()) == [
        f"attempt-000.rank-{rank}.log" for rank in range(4)
    ]


def test_a_killed_supervisor_of_the_second_node(sandbox, workplace):
    """All ranks save and go, the step ends, and the job comes back."""
    workplace.submit(WIDE, SHORT)
    workplace.wait_for_iteration(40)

    os.kill(read_lease(workplace.pack().node_lease(1)).pid, signal.SIGKILL)

    workplace.wait_for_end(timeout=240)
    assert workplace.state().status == "finished", workplace.story()
    assert workplace.restored()[0] >= 41


def test_a_stop_that_reaches_the_second_node_alone(sandbox, workplace):
    """The first one hears of it, and brings the job back."""
    workplace.submit(WIDE, SHORT)
    workplace.wait_for_iteration(40)

    os.kill(read_lease(workplace.pack().node_lease(1)).pid, signal.SIGTERM)

    workplace.wait_for_end(timeout=240)
    assert workplace.state().attempts == {"preempted": 1, "finished": 1}, workplace.story()
    assert workplace.restored()[0] >= 41

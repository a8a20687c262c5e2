"""What a supervisor makes of a node that fails its members; small programs stand for trainers."""

import threading
from pathlib import Path

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.bad_nodes import read_node_failures
from launcher.job.machine import Machine
from launcher.job.node import ThisNode
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import Member, Pack, SlurmTerms
from launcher.job.slots import Slots
from launcher.job.stop_request import SignalStop
from launcher.slurm import client
from scripts.workloads.logs import json_lines
from tests.launcher.job.test_node_supervisor import EventStop
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import RunState, read_state, write_state
from trainers.stop_flag import StopFlag

GPUS = ("GPU-a", "GPU-b")
TERMS = SlurmTerms(
    cluster="slurm",
    partition="gpu",
    time_limit_s=3600,
    signal_lead_s=120,
    grace_s=8.0,
    may_requeue=True,
    accounting=True,
    parameters={"nodes": 1},
)
RETRIES = RetriesConfig(node_failure=3)


class Job:
    """A pack on node n1, one of two, with a shell script for each member, run to its end."""

    def __init__(self, folder: Path, scripts: dict[str, str], *, terms=None, stop=None, **machine):
        self.experiment = ExperimentFolder(folder / "experiment")
        self.scripts = scripts
        pack_folder = self.experiment.pack("pack-0000")
        pack_folder.path.mkdir(parents=True)
        for name in scripts:
            run = self.experiment.run(name)
            run.path.mkdir(parents=True)
            write_state(run, RunState(status="submitted", pack="pack-0000"))
        members = tuple(Member(name=name, gpus=1, cpus=1, retries=RETRIES) for name in scripts)
        owned = Machine(cores=tuple(range(4)), **machine)
        self.supervisor = NodeSupervisor(
            pack_folder,
            Pack(members=members, machine=None, grace_s=60.0, slurm=terms),
            Slots(owned, folder / "slots"),
            node=ThisNode(name="n1", job_nodes=("n1",), job="7"),
            stop=stop or SignalStop(StopFlag(), 60.0),
            command=self._command,
        )

    def _command(self, run, attempt, owner):
        return ["/bin/sh", "-c", self.scripts[run.name], str(run.path), str(attempt)]

    def run(self):
        self.supervisor.run()

    def state(self, name):
        return read_state(self.experiment.run(name))

    def gpus(self, name):
        """Those of the run's attempts."""
        events = json_lines(self.experiment.run(name).events)
        return [tuple(each["gpus"]) for each in events if each["event"] == "launched"]


@pytest.fixture
def two_nodes(monkeypatch) -> None:
    monkeypatch.setattr(client, "usable_nodes", lambda partition: ("n1", "n2"))


@pytest.mark.parametrize("exit_status", [6, 8])
def test_the_next_attempt_takes_another_gpu(tmp_path, exit_status):
    """After a fault of its GPU, or a hang, a member gets another one, if one is free."""
    script = f'[ "$1" = 0 ] && exit {exit_status}; exit 0'
    job = Job(tmp_path, {"run": script}, gpus=GPUS)

    job.run()

    assert job.gpus("run") == [("GPU-a",), ("GPU-b",)]
    assert job.state("run").status == "finished"
    (failure,) = read_node_failures(job.experiment)
    assert (failure.node, failure.run, failure.gpus) == ("n1", "run", ("GPU-a",))


def test_a_crash_is_not_the_node_s_fault(tmp_path):
    """The run is tried again where it was, and nothing is noted."""
    job = Job(tmp_path, {"run": '[ "$1" = 0 ] && exit 1; exit 0'}, gpus=GPUS)

    job.run()

    assert job.gpus("run") == [("GPU-a",), ("GPU-a",)]
    assert read_node_failures(job.experiment) == []


@pytest.mark.usefixtures("two_nodes")
def test_a_bad_node_is_left_once_its_neighbors_have_ended(tmp_path):
    """Two failures, and no run is started there any more; one that trains goes on to its end."""
    second = '"$0/../bad/logs/attempt-001.rank-0.log"'
    trains_on = f"until [ -e {second} ]; do sleep 0.05; done; exit 0"
    job = Job(tmp_path, {"good": trains_on, "bad": "exit 6"}, terms=TERMS, gpus=GPUS)

    job.run()

    assert job.supervisor.health.must_leave
    assert job.state("good").status == "finished"
    assert (job.state("bad").status, job.state("bad").attempts) == ("waiting", {"node_failure": 2})


def test_a_run_that_no_gpu_is_there_for_does_not_use_the_cpu(tmp_path):
    """It is not started: it goes to another node, and this one is noted."""
    job = Job(tmp_path, {"run": "exit 0"}, terms=TERMS, owes_gpus=True)

    job.run()

    assert job.supervisor.queue.wants_another_node
    assert job.state("run").attempts == {"node_failure": 1}
    (failure,) = read_node_failures(job.experiment)
    assert (failure.kind, failure.reason) == (
        "GPU fault",
        "has 0 GPUs to give, and the run needs 1",
    )


def test_a_machine_of_one_s_own_is_never_left(tmp_path):
    """There is no other: the budget of the run ends it."""
    job = Job(tmp_path, {"run": "exit 6"}, gpus=GPUS)
    job.run()

    assert not job.supervisor.health.must_leave
    assert job.state("run").status == "failed"


@pytest.mark.usefixtures("two_nodes")
def test_a_check_that_hangs_does_not_hold_up_a_stop(tmp_path, monkeypatch):
    """The disk takes no failure, and the job is to be requeued within its grace."""
    began, goes_on = threading.Event(), threading.Event()

    def hang(*_):
        began.set()
        assert goes_on.wait(60)

    monkeypatch.setattr("launcher.job.bad_nodes.note_node_failure", hang)
    stop = EventStop(0.0)
    job = Job(tmp_path, {"run": "exit 6"}, terms=TERMS, gpus=GPUS, stop=stop)
    thread = threading.Thread(target=job.run)
    thread.start()
    assert began.wait(60)
    stop.event.set()
    thread.join(30)
    has_returned = not thread.is_alive()
    goes_on.set()

    assert has_returned

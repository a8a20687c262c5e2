"""Members over several nodes: two supervisors, small programs in the place of trainers."""

import errno
import json
import os
import threading
import time

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.bookkeeping import PackRecords
from launcher.job.machine import Machine
from launcher.job.member_ranks import MemberRanks
from launcher.job.multi_node_rendezvous import NodeEnds
from launcher.job.node import ThisNode
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import Member, Pack
from launcher.job.slots import Slots
from tests.launcher.job.test_node_supervisor import TERMS, EventStop
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import RunState, read_state, write_state


class TwoNodes:
    """A job of two nodes; each is supervised in a thread, as a task would do it in a process.

    Args:
        commands: By run; shell scripts that find the run's folder in $0. Those called `wide` have
            two ranks on each of both nodes, the others one on the second node.
    """

    def __init__(self, folder, commands, retries):
        self.experiment = ExperimentFolder(folder / "experiment")
        pack_folder = self.experiment.pack("pack-0000")
        pack_folder.path.mkdir(parents=True)
        for name in commands:
            run = self.experiment.run(name)
            run.path.mkdir(parents=True)
            write_state(run, RunState(status="submitted", pack="pack-0000"))
        members = tuple(
            Member(
                name=name,
                gpus=2 if name == "wide" else 0,
                cpus=2 if name == "wide" else 1,
                nodes=(0, 1) if name == "wide" else (1,),
                retries=retries,
            )
            for name in commands
        )
        pack = Pack(members=members, machine=None, grace_s=10.0, num_nodes=2, slurm=TERMS)
        self.stops = [EventStop(10.0), EventStop(10.0)]
        self.threads = []
        for index in (0, 1):
            slots_folder = folder / f"slots-{index}"
            slots_folder.mkdir()
            supervisor = NodeSupervisor(
                pack_folder,
                pack,
                Slots(Machine(cores=(0, 1)), slots_folder),
                node=ThisNode(index=index, name=f"n{index}", job="12"),
                stop=self.stops[index],
                command=lambda run, attempt, owner: [
                    "/bin/sh",
                    "-c",
                    commands[run.name],
                    str(run.path),
                ],
            )
            self.threads.append(threading.Thread(target=supervisor.run))

    def start(self):
        for thread in self.threads:
            thread.start()

    def wait(self):
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def run(self):
        self.start()
        self.wait()

    def stop(self):
        for stop in self.stops:
            stop.event.set()
        self.wait()

    def log(self, rank, attempt=0):
        return self.experiment.run("wide").log(attempt, rank)

    def state(self, name):
        return read_state(self.experiment.run(name))


@pytest.fixture
def make_nodes(tmp_path):
    return lambda commands, retries=None: TwoNodes(
        tmp_path, commands, retries or RetriesConfig(crashed=0)
    )


def test_every_rank_has_its_place(make_nodes):
    """Ranks count through the nodes; each has a log of its own."""
    nodes = make_nodes({"wide": "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE"})

    nodes.run()

    assert [nodes.log(rank).read_text() for rank in range(4)] == [
        "0/4 0/2\n",
        "1/4 1/2\n",
        "2/4 0/2\n",
        "3/4 1/2\n",
    ]
    assert nodes.state("wide").attempts == {"finished": 1}


def test_the_attempt_is_judged_by_all_nodes(make_nodes, monkeypatch):
    """A rank that is lost on the second node fails the run, and ends the ranks on the first."""
    monkeypatch.setattr("launcher.job.member_ranks.RANK_LOSS_TIMEOUT_S", 0.2)
    nodes = make_nodes({"wide": "[ $RANK = 3 ] && exit 1; sleep 60"})

    nodes.run()

    state = nodes.state("wide")
    assert (state.status, state.attempts) == ("failed", {"crashed": 1})


def test_a_lost_rank_on_the_first_node_ends_those_on_the_second(make_nodes, monkeypatch):
    """They hear that the attempt is over."""
    monkeypatch.setattr("launcher.job.member_ranks.RANK_LOSS_TIMEOUT_S", 0.2)
    nodes = make_nodes({"wide": "[ $RANK = 0 ] && exit 1; sleep 60"})

    nodes.run()

    assert nodes.state("wide").attempts == {"crashed": 1}


def test_another_attempt_is_made_on_all_nodes(make_nodes):
    """With the slots that the run has had, though another member would like them."""
    once = "[ $RANK$0 = 3$0 ] && [ ! -e $0/was-here ] && touch $0/was-here && exit 1; exit 0"
    nodes = make_nodes({"wide": once, "narrow": "exit 0"}, RetriesConfig(crashed=1))

    nodes.run()

    assert nodes.state("wide").attempts == {"crashed": 1, "finished": 1}
    assert nodes.log(2, attempt=1).exists()
    assert nodes.state("narrow").status == "finished"


def test_all_ranks_stop_together(make_nodes):
    """The signal reaches the supervisors of both nodes; the attempt is counted once."""
    nodes = make_nodes({"wide": "trap 'exit 75' TERM; echo up; sleep 60 & wait"})
    nodes.start()
    while not all(nodes.log(rank).exists() and nodes.log(rank).read_text() for rank in range(4)):
        time.sleep(0.02)

    nodes.stop()

    state = nodes.state("wide")
    assert (state.status, state.attempts) == ("waiting", {"preempted": 1})
    lines = nodes.experiment.run("wide").events.read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds == ["launched", "launched", "ended"]


def test_a_start_that_the_disk_refuses_is_made_again_on_all_nodes(make_nodes, monkeypatch):
    """The second node goes on waiting for the first one, which could open no log."""
    refusals = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def refuse_once(*arguments, node, **options):
        if node == 0 and refusals:
            raise refusals.pop()
        return MemberRanks(*arguments, node=node, **options)

    monkeypatch.setattr("launcher.job.member_starter.MemberRanks", refuse_once)
    monkeypatch.setattr("launcher.job.requeue_policy._AWAY_DELAY_S", 0.1)
    nodes = make_nodes({"wide": "exit 0"})

    nodes.run()

    assert nodes.state("wide").attempts == {"unavailable": 1, "finished": 1}
    assert all(nodes.log(rank, attempt=1).exists() for rank in range(4))


@pytest.mark.parametrize("wants_return", [True, False])
def test_the_first_node_learns_what_the_others_leave(tmp_path, wants_return):
    """A run of the second node that needs another node brings the job back; an earlier start's
    report says nothing."""
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    first, second, earlier = (
        NodeEnds(pack, ThisNode(index=index, name="n", job="12", start=start), PackRecords(pack))
        for index, start in ((0, 1), (1, 1), (1, 0))
    )
    earlier.report(not wants_return, is_stopping=False)
    polled: list[bool] = []

    def report_late():
        if not polled:
            second.report(wants_return, is_stopping=False)
        polled.append(True)
        return False

    assert first.wait_for_others(2, report_late) == wants_return
    assert polled


@pytest.mark.parametrize("is_stopping", [True, False])
def test_a_report_that_the_disk_refuses_is_waited_for_unless_the_job_stops(
    tmp_path, monkeypatch, is_stopping
):
    """The first node is to requeue the job within its grace, and sees that the lease is free."""
    monkeypatch.setattr("launcher.job.multi_node_rendezvous._TIMEOUT_S", 0.1)
    monkeypatch.setattr("launcher.job.multi_node_rendezvous._STOPPED_TIMEOUT_S", 0.1)
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    pack.node_end(1).mkdir()  # nothing can take its place
    first, second = (
        NodeEnds(pack, ThisNode(index=index, name="n", job="12"), PackRecords(pack))
        for index in (0, 1)
    )

    if is_stopping:
        second.report(False, is_stopping=True)
        assert not first.wait_for_others(2, lambda: True)
    else:
        with pytest.raises(OSError):
            second.report(False, is_stopping=False)

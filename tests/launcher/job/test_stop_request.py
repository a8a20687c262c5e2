"""Requests to stop, and what several nodes make of them."""

import signal

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.stop_request import SlurmStop
from scripts.workloads.logs import json_lines
from tests.launcher.job.test_node_supervisor import TERMS, wait_until
from trainers.stop_flag import StopFlag


@pytest.fixture
def pack(tmp_path):
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    return pack


@pytest.fixture
def make_stop(pack):
    def make(index, *, start=0, num_nodes=2):
        flag = StopFlag()
        node = ThisNode(index=index, name=f"n{index}", job="12", start=start)
        records = PackRecords(pack)
        return (
            flag,
            SlurmStop(flag, pack, TERMS, node, records, num_nodes=num_nodes, on_final=print),
            records,
        )

    return make


def test_what_one_node_hears_all_nodes_hear(make_stop):
    """Slurm may reach one of them only."""
    (flag, first, _), (_, second, _) = make_stop(0), make_stop(1)
    assert not first.is_requested() and not second.is_requested()

    flag.received = signal.SIGUSR2

    assert first.is_requested()
    wait_until(second.is_requested)


def test_what_an_earlier_start_has_heard_is_over(make_stop, pack):
    """The job was stopped then; now it goes on."""
    flag, before, records = make_stop(0)
    flag.received = signal.SIGTERM
    assert before.is_requested()
    records.flush(10)

    _, after, its_records = make_stop(1, start=1)
    assert not after.is_requested()
    wait_until(lambda: its_records.latest(pack.stop))

    assert not after.is_requested()


def test_a_single_node_asks_nobody(make_stop, pack):
    """It leaves no file for others."""
    flag, stop, records = make_stop(0, num_nodes=1)
    flag.received = signal.SIGTERM

    assert stop.is_requested()
    records.flush(10)
    assert not pack.stop.exists()


def test_where_it_was_heard_is_told(make_stop, pack, monkeypatch):
    """The reason of a node that heard nothing itself names the one that did."""
    monkeypatch.setattr("launcher.slurm.client.job_details", lambda job, timeout_s: None)
    (flag, first, _), (_, second, others) = make_stop(0), make_stop(1)
    flag.received = signal.SIGTERM
    first.is_requested()

    wait_until(second.is_requested)
    assert second.request().reason == "its job was asked to stop (SIGTERM on n0)"
    others.flush(10)
    assert json_lines(pack.events)[-1]["signal"] == "SIGTERM on n0"

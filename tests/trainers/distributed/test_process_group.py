"""Ranks that meet, agree, and lose each other."""

import errno
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch.distributed import DistBackendError, HashStore  # type: ignore[attr-defined]

from scripts.workloads.ranks import RANK_VARIABLES, start_rank, variables
from trainers.distributed.distributed_group import DistributedGroup
from trainers.distributed.open_process_group import open_process_group
from trainers.distributed.rank_info import RankInfo
from trainers.errors import ConfigError, RankError
from trainers.run.run_folder import RunFolder

RANK = str(Path(__file__).with_name("one_rank.py"))
SHORT = timedelta(seconds=0.3)


@pytest.fixture
def folder(tmp_path):
    """A run that a dead attempt has left; it listened where nobody does now."""
    folder = RunFolder(tmp_path)
    stale = {"attempt": 2, "host": "127.0.0.1", "port": 1}
    folder.rendezvous.write_text(json.dumps(stale))
    return folder


@pytest.fixture
def as_rank(monkeypatch):
    """Let this process be a rank."""

    def be(rank, size):
        for name, value in variables(rank, size, size).items():
            monkeypatch.setenv(name, value)

    return be


def run_ranks(folder, size, local_size, *arguments):
    """Exit status and output of every rank."""
    logs = [folder.path / f"rank-{rank}.log" for rank in range(size)]
    ranks = []
    for rank, path in enumerate(logs):
        with path.open("wb") as log:
            arguments_of_rank = [RANK, str(folder.path), *arguments]
            ranks.append(start_rank(arguments_of_rank, rank, size, local_size, log))
    return [
        (rank.wait(timeout=120), path.read_text()) for rank, path in zip(ranks, logs, strict=True)
    ]


def test_a_single_rank_needs_no_torch(tmp_path):
    """Without torchrun's variables there is one rank, which is alone and loads nothing."""
    code = (
        "import sys; from trainers.distributed.open_process_group import open_process_group\n"
        "with open_process_group(None, 0, lambda: False) as group:\n"
        "    assert (group.rank, group.world_size, group.is_rank_zero) == (0, 1, True)\n"
        "    assert group.any_rank(True) and not group.any_rank(False)\n"
        "    assert group.local_slice(3) == range(3) and group.broadcast_from_rank0(7) == 7\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("local_size", [3, 1], ids=["one node", "three nodes"])
def test_ranks_find_the_same(folder, local_size):
    """They meet past a stale rendezvous, and agree on whatever they are asked."""
    ranks = run_ranks(folder, 3, local_size)

    assert [status for status, _ in ranks] == [0, 0, 0], ranks
    found = [json.loads(output.splitlines()[-1]) for _, output in ranks]
    assert [each.pop("parts") for each in found] == [[0, 1], [2, 3], [4, 5]]
    same = {"stops": [False, True], "total": [[3, 3]], "mean": 1.0, "decided": 10}
    assert found == [same] * 3
    rendezvous = json.loads(folder.rendezvous.read_text())
    assert (rendezvous["attempt"], rendezvous["host"]) == (3, "127.0.0.1")


@pytest.mark.slow
def test_neighbors_are_added_up_first(folder):
    """Where rounding tells: (1e8 + 1) + (1 - 1e8) is 0 in float32; any other order gives 1 or 2."""
    ranks = run_ranks(folder, 4, 2)

    assert [json.loads(output.splitlines()[-1])["pairwise"] for _, output in ranks] == [0.0] * 4


@pytest.mark.slow
def test_the_others_learn_why_a_rank_has_failed(folder):
    """They end as well, and their errors tell what the first failure was."""
    ranks = run_ranks(folder, 3, 3, "1")

    assert [status for status, _ in ranks] == [1, 1, 1]
    for rank, (_, output) in enumerate(ranks):
        told = "ValueError: something is wrong here"
        last = told if rank == 1 else f"RankError: rank 1 has failed: {told}"
        assert output.splitlines()[-1].endswith(last)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (RuntimeError("Connection closed by peer"), RankError),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), torch.AcceleratorError),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
    ],
)
def test_a_collective_does_not_blame_others_for_this_ranks_gpu(monkeypatch, error, raised):
    """Errors of kernels show wherever the GPU is waited for next."""
    group = DistributedGroup(RankInfo(world_size=2, local_size=2), store())
    monkeypatch.setattr("torch.distributed.all_reduce", Mock(side_effect=error))

    with pytest.raises(raised):
        group._reduce(torch.zeros(1), Mock())


def test_an_error_of_nccl_is_no_fault_of_a_node_whose_peer_has_failed():
    """It comes after what the other rank has published."""
    group = DistributedGroup(RankInfo(rank=1, world_size=2, local_size=2, local_rank=1), store())

    with pytest.raises(RankError, match="rank 0 has failed: ValueError: wrong"):
        group._publish_failure(DistBackendError("NCCL error: remote process exited"))


def store():
    store = HashStore()
    store.compare_set("failure", "", "rank 0 has failed: ValueError: wrong")
    return store


@pytest.mark.parametrize("content", ["attempt 2", '{"attem', "", "unreadable"])
def test_a_rank_waits_for_the_first_one_of_its_attempt(folder, as_rank, monkeypatch, content):
    """When the time is up it says for what: neither another attempt's file does, nor half a one."""
    as_rank(1, 2)
    if content == "unreadable":
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=error))
    elif content != "attempt 2":
        folder.rendezvous.write_text(content)

    with (
        pytest.raises(RankError, match=r"rank 0 of attempt 3 did not write .*rendezvous.json"),
        open_process_group(folder, 3, lambda: False, timeout=SHORT),
    ):
        pass


def test_a_file_that_a_dead_attempt_left_is_waited_out(folder, as_rank):
    """An attempt that was killed and started again under its number finds its old address."""
    as_rank(1, 2)

    with (
        pytest.raises(RankError, match=r"rank 0 of attempt 2 does not answer at \('127.0.0.1', 1"),
        open_process_group(folder, 2, lambda: False, timeout=SHORT),
    ):
        pass


def test_the_first_rank_waits_for_the_file_system(folder, as_rank, monkeypatch):
    """Until it can write where it listens; it goes on then."""
    as_rank(0, 2)
    written = Path.open
    refusals = [OSError(errno.EIO, os.strerror(errno.EIO))] * 2

    def refuse_twice(path, *arguments, **options):
        if "rendezvous" in path.name and refusals:
            raise refusals.pop()
        return written(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse_twice)
    with (
        pytest.raises(RankError, match="waiting for rank 1 of 2"),
        open_process_group(folder, 3, lambda: False, timeout=SHORT),
    ):
        pass

    assert json.loads(folder.rendezvous.read_text())["attempt"] == 3


def test_the_first_rank_names_those_that_did_not_come(folder, as_rank):
    """Nobody waits for ever."""
    as_rank(0, 3)

    with (
        pytest.raises(RankError, match=r"timed out after 0\.3 s waiting for rank 1, 2 of 3"),
        open_process_group(folder, 3, lambda: False, timeout=SHORT),
    ):
        pass


def test_the_first_rank_waits_for_a_folder_that_is_away(tmp_path, as_rank):
    """It says where it listens once the folder is back."""
    folder, away = RunFolder(tmp_path / "run"), tmp_path / "away"
    away.mkdir()
    as_rank(0, 2)

    def bring_back():
        """Polled while it waits, for whether to stop."""
        if away.exists():
            away.rename(folder.path)
        return folder.rendezvous.exists()

    with open_process_group(folder, 3, bring_back) as group:
        assert group is None

    assert json.loads(folder.rendezvous.read_bytes())["attempt"] == 3


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stop_ends_the_wait(folder, as_rank, rank):
    """Asked to stop before all ranks are there, a rank leaves without an error."""
    as_rank(rank, 2)

    with open_process_group(folder, 3, lambda: True) as group:
        assert group is None


def test_a_batch_is_shared_evenly_or_not_at_all():
    """The error names the batch sizes that the ranks can share."""
    from trainers.distributed.process_group import ProcessGroup

    group = ProcessGroup(RankInfo(rank=2, world_size=4, local_size=4))

    assert group.local_slice(8) == range(4, 6)
    with pytest.raises(ConfigError, match=r"batch_size is 6, which the 4 ranks.*: 4 or 8$"):
        group.local_slice(6)
    with pytest.raises(ConfigError, match=r"that they can: 4$"):
        group.local_slice(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "4"}, "a rank must be smaller than the number of ranks"),
        ({"RANK": "one"}, "invalid literal"),
        ({"LOCAL_RANK": "2"}, "a rank must be smaller"),
        ({"WORLD_SIZE": None}, "WORLD_SIZE is missing"),
        ({"LOCAL_WORLD_SIZE": "8"}, "the local world size must not exceed the world size"),
    ],
)
def test_variables_that_do_not_go_together(change, message):
    """What was found is shown."""
    environment = {**variables(1, 4, 2), **change}
    environment = {name: value for name, value in environment.items() if value is not None}

    with pytest.raises(ConfigError, match=message) as caught:
        RankInfo.from_environment(environment)

    assert all(name in str(caught.value) for name in RANK_VARIABLES)

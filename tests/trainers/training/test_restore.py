"""What a run goes on from, read before torch is there."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest
import torch

from trainers.architectures import UNetConfig
from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig
from trainers.datasets import ArrayConfig, DatasetConfig
from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.errors import (
    CheckpointError,
    LeaseLostError,
    RankError,
    StopRequestedError,
    StorageUnavailableError,
)
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.run_state import RunState, read_state, write_state
from trainers.tasks.task_configs import AffinitiesTaskConfig
from trainers.training import restore
from trainers.training.non_finite import agree_on_left_out, record_left_out
from trainers.training.restore import CheckpointPrefetch

CONFIG = RunConfig(
    name="first",
    num_iterations=100,
    datasets=(DatasetConfig(name="volume", raw=ArrayConfig(path=Path("/volume.zarr"))),),
    task=AffinitiesTaskConfig(neighborhood=((1, 0, 0),)),
    architecture=UNetConfig(input_shape=(52, 52, 52)),
    trainer=DummyTrainerConfig(name="first", batch_size=1, learning_rate=0.1, mirror_augment=False),
)
FIRST, SECOND = RankInfo(), RankInfo(rank=1, world_size=2, local_size=2, local_rank=1)


class SecondRank(ProcessGroup):
    """Of two; the first of them has decided already."""

    def __init__(self, decision: int) -> None:
        super().__init__(SECOND)
        self._decision = decision

    def broadcast_from_rank0(self, value: int) -> int:
        return self._decision


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with checkpoints of 10 and 20 iterations."""
    return write_checkpoints(RunFolder(tmp_path))


def write_checkpoints(folder: RunFolder) -> RunFolder:
    store = CheckpointStore(folder.checkpoints, fingerprint=CONFIG.fingerprint)
    for iteration in (10, 20):
        store.save(iteration, {"weight": torch.full((1000,), float(iteration))})
    return folder


def prefetch(folder: RunFolder, config: RunConfig, rank: RankInfo) -> CheckpointPrefetch:
    """Also wait until what it has recorded is written."""
    record = RunRecord(folder, read_state(folder))
    prefetched = CheckpointPrefetch(record, config, rank)
    prefetched.wait()
    record.flush(10)
    return prefetched


def damage_newest(folder: RunFolder) -> Path:
    newest = max(folder.checkpoints.glob("iteration-*"))
    (file,) = newest.glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return newest


def test_the_first_rank_takes_the_newest_and_goes_on_saving(folder: RunFolder) -> None:
    """The thread opens the store too, which the rank saves to later."""
    restoration = prefetch(folder, CONFIG, FIRST)

    checkpoint = restoration.checkpoint(ALONE)

    assert checkpoint is not None and checkpoint.iteration == 20
    assert torch.equal(checkpoint.state["weight"], torch.full((1000,), 20.0))
    assert restoration.store is not None
    restoration.store.save(30, {"weight": torch.zeros(1)})
    assert restoration.store.iterations() == [20, 30]


def test_a_damaged_one_is_set_aside_behind_the_fence(folder: RunFolder) -> None:
    """The one before it is taken, and nothing is renamed by a process that has lost the run."""
    damage_newest(folder)
    before = sorted(folder.checkpoints.iterdir())

    def lost() -> None:
        raise LeaseLostError("somebody has taken over")

    with pytest.raises(LeaseLostError):
        fenced = attrs.evolve(folder, fence=lost)
        prefetch(fenced, CONFIG, FIRST).checkpoint(ALONE)
    assert sorted(folder.checkpoints.iterdir()) == before

    checkpoint = prefetch(folder, CONFIG, FIRST).checkpoint(ALONE)

    assert checkpoint is not None and checkpoint.iteration == 10
    names = sorted(path.name for path in folder.checkpoints.iterdir())
    assert names == ["damaged-iteration-000000020-0", "iteration-000000010"]


def test_an_error_of_the_thread_is_raised_where_its_result_is_asked_for(folder: RunFolder) -> None:
    """A checkpoint of another run is refused as it would be without a thread."""
    other = attrs.evolve(CONFIG, seed=1)

    restoration = prefetch(folder, other, FIRST)
    restoration.wait()

    with pytest.raises(CheckpointError, match="cannot be used"):
        restoration.checkpoint(ALONE)


def test_a_new_run_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    """But it has a store."""
    restoration = prefetch(RunFolder(tmp_path), CONFIG, FIRST)

    assert restoration.checkpoint(ALONE) is None
    assert restoration.store is not None


def test_what_was_saved_is_not_trained_again_without_leave(folder: RunFolder) -> None:
    """Nothing of it can be used: that is for a person to decide. Unless the state is gone, too."""
    write_state(folder, RunState(saved_iteration=20))
    shutil.rmtree(folder.checkpoints / "iteration-000000010")
    damage_newest(folder)

    with pytest.raises(CheckpointError, match=r"iteration 20 was saved.* set aside as damaged-"):
        prefetch(folder, CONFIG, FIRST).checkpoint(ALONE)
    assert (folder.checkpoints / "damaged-iteration-000000020-0").is_dir()

    shutil.rmtree(folder.checkpoints)
    with pytest.raises(
        CheckpointError, match=r"to train it from the start .* remove .*state.*events"
    ):
        prefetch(folder, CONFIG, FIRST).checkpoint(ALONE)

    folder.state.unlink()
    folder.events.unlink()
    assert prefetch(folder, CONFIG, FIRST).checkpoint(ALONE) is None


def test_what_is_trained_again_is_told(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has taken the newest checkpoint away; the one before it serves."""
    write_state(folder, RunState(saved_iteration=20))
    shutil.rmtree(folder.checkpoints / "iteration-000000020")

    checkpoint = prefetch(folder, CONFIG, FIRST).checkpoint(ALONE)

    assert checkpoint is not None and checkpoint.iteration == 10
    assert "iteration 20 was saved, but the newest" in caplog.text


@pytest.mark.parametrize("decision", [20, 10])
def test_other_ranks_take_what_the_first_has_decided(folder: RunFolder, decision: int) -> None:
    """Whether it is what they have read ahead, or not."""
    restoration = prefetch(folder, CONFIG, SECOND)

    checkpoint = restoration.checkpoint(SecondRank(decision))

    assert checkpoint is not None
    assert checkpoint.state["weight"][0] == decision
    assert restoration.store is None


class FirstOfTwo(ProcessGroup):
    """Remembers what it has told the second one."""

    def __init__(self) -> None:
        super().__init__(attrs.evolve(SECOND, rank=0, local_rank=0))
        self.told: list[int] = []

    def broadcast_from_rank0(self, value: int) -> int:
        self.told.append(value)
        return value


@pytest.mark.parametrize(
    ("stops", "raised_first", "raised_second"),
    [(False, StorageUnavailableError, RankError), (True, StopRequestedError, StopRequestedError)],
)
def test_all_ranks_learn_that_the_first_cannot_read(
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    stops: bool,
    raised_first: type[Exception],
    raised_second: type[Exception],
) -> None:
    """It tells them before it fails, so that they do not wait; a stop is a stop for all."""
    monkeypatch.setattr(restore, "TIMEOUT_S", 60.0 if stops else 0.0)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("trainers.checkpoints.checkpoint_files.fill", fail)
    first = FirstOfTwo()

    with pytest.raises(raised_first):
        CheckpointPrefetch(
            RunRecord(folder, RunState()), CONFIG, FIRST, should_stop=lambda: stops
        ).checkpoint(first)
    (decision,) = first.told
    with pytest.raises(raised_second):
        prefetch(folder, CONFIG, SECOND).checkpoint(SecondRank(decision))

    names = sorted(path.name for path in folder.checkpoints.iterdir())
    assert names == ["iteration-000000010", "iteration-000000020"]


def test_all_ranks_learn_that_the_first_cannot_go_back(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells them, as at the start."""
    monkeypatch.setattr(restore, "TIMEOUT_S", 0.0)
    first, prefetched = FirstOfTwo(), prefetch(folder, CONFIG, FIRST)
    assert prefetched.checkpoint(first) is not None

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("trainers.checkpoints.checkpoint_files.fill", fail)
    with pytest.raises(StorageUnavailableError):
        prefetched.earlier(first, up_to=10)

    _, decision = first.told
    with pytest.raises(RankError, match="rank 0 could not read"):
        prefetch(folder, CONFIG, SECOND).earlier(SecondRank(decision), up_to=10)


def test_a_checkpoint_that_another_rank_does_not_see_yet_is_waited_for(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of NFS lists a folder from memory; that it stays so is no fault of the run's."""
    monkeypatch.setattr(restore, "TIMEOUT_S", 0.3)

    with pytest.raises(StorageUnavailableError, match="which rank 0 has read"):
        prefetch(folder, CONFIG, SECOND).checkpoint(SecondRank(30))


@pytest.mark.parametrize(("rank", "group"), [(FIRST, ALONE), (SECOND, SecondRank(20))])
def test_a_folder_that_is_away_for_a_moment_is_waited_for(
    tmp_path: Path, rank: RankInfo, group: ProcessGroup
) -> None:
    """It is no run without checkpoints, nor one that has left nothing out."""
    away, run = tmp_path / "away", RunFolder(tmp_path / "run")
    away.mkdir()
    write_checkpoints(RunFolder(away))
    record_left_out(RunFolder(away), {7})
    back = threading.Timer(0.3, away.rename, [run.path])
    restoration = CheckpointPrefetch(RunRecord(run, RunState()), CONFIG, rank)

    back.start()
    checkpoint = restoration.checkpoint(group)
    back.join()

    assert checkpoint is not None and checkpoint.iteration == 20
    assert agree_on_left_out(restoration.left_out, ALONE) == ({7} if rank is FIRST else set())


def test_other_ranks_change_nothing(folder: RunFolder) -> None:
    """They pass over what is damaged, and leave it and all temporary files to the first rank."""
    damaged = damage_newest(folder)
    (folder.checkpoints / ".tmp-leftover").mkdir()

    assert prefetch(folder, CONFIG, SECOND).checkpoint(SecondRank(-1)) is None

    assert damaged.exists()
    assert (folder.checkpoints / ".tmp-leftover").exists()
    assert CheckpointReader(folder.checkpoints, fingerprint=CONFIG.fingerprint).iterations() == [
        10,
        20,
    ]


def test_torch_is_not_needed_until_the_state_is(folder: RunFolder) -> None:
    """Reading begins, and can end, before the trainer has imported torch or even numpy."""
    write_run_config(folder.config, CONFIG)
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None)\n"
        "from trainers.config.config_io import read_run_config\n"
        "from trainers.distributed.process_group import ALONE\n"
        "from trainers.distributed.rank_info import RankInfo\n"
        "from trainers.training.restore import CheckpointPrefetch\n"
        "from trainers.run.run_folder import RunFolder\n"
        "from trainers.run.run_record import RunRecord\n"
        "from trainers.run.run_state import RunState\n"
        "folder = RunFolder(sys.argv[1])\n"
        "config = read_run_config(folder.config)\n"
        "prefetch = CheckpointPrefetch(RunRecord(folder, RunState()), config, RankInfo())\n"
        "print(prefetch.checkpoint(ALONE).iteration)"
    )

    found = subprocess.run(
        [sys.executable, "-c", code, folder.path], stdout=subprocess.PIPE, text=True, check=True
    ).stdout

    assert found == "20\n"

"""What runs come to when nothing happens to them."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from attrs import frozen

from scripts.stress.storm_packs.unequal_runs import UnequalRuns
from scripts.workloads.outcome import tensors, values
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig
from trainers.run.run_folder import RunFolder

AT_ONCE = 2


@frozen(kw_only=True)
class Outcome:
    """What a run has come to."""

    tensors: dict[str, str]
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, run: RunFolder) -> Outcome:
        return cls(tensors=tensors(run), rows=values(run))


def train_references(runs: UnequalRuns) -> dict[str, Outcome]:
    """Train all but the one that crashes, in processes of this machine and without a pause.

    They are forked from one that has torch: loading it takes longer than the training.
    """
    overrides = ["architecture.arguments.seconds=0", 'architecture.arguments.claims=""']
    configs = [each for each in runs.configs(overrides) if each.name in runs.others]
    folder = runs.folder / "references"
    _processes.set_forkserver_preload(
        ["trainers.training.training_run", "trainers.distributed.distributed_group"]
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(lambda config: _train(folder, config), configs)
        return {config.name: each for config, each in zip(configs, outcomes, strict=True)}


_processes = get_context("forkserver")


def _train(folder: Path, config: RunConfig) -> Outcome:
    run = RunFolder(folder / config.name)
    run.logs.mkdir(parents=True)
    write_run_config(run.config, config)
    ranks = [
        _start(run, rank, config.resources.num_ranks) for rank in range(config.resources.num_ranks)
    ]
    for each in ranks:
        each.join()
    if any(each.exitcode for each in ranks):
        raise RuntimeError(f"the undisturbed run has failed:\n{run.log(0).read_text()}")
    return Outcome.of(run)


def _start(run: RunFolder, rank: int, size: int) -> BaseProcess:
    place = {}
    if size > 1:
        words = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        place = dict(zip(words, map(str, (rank, size, rank, size)), strict=True))
    process = _processes.Process(target=_train_rank, args=(run, rank, place), daemon=True)
    process.start()
    return process


def _train_rank(run: RunFolder, rank: int, place: dict[str, str]) -> None:
    from trainers.__main__ import main

    with run.log(0, rank).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(place, GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
    sys.argv = ["trainers", str(run.path)]
    os._exit(main([str(run.path)]))

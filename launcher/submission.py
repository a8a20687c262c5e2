"""Write the folders of runs that are due, and hand them to a job."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

import attrs

from launcher.errors import DoesNotFitError, SubmissionError
from launcher.experiment_folder import ExperimentFolder, PackFolder
from launcher.local_job import start_locally
from launcher.machine import Machine
from launcher.pack import Member, Pack, write_pack
from launcher.plan import PlannedRun
from trainers.config_io import write_run_config
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder
from trainers.run_state import RunState, append_event, read_state, write_state


def check_fit(configs: Sequence[RunConfig], machine: Machine) -> None:
    """Refuse runs that could never start on this machine.

    A machine without GPUs takes all runs, on its CPU.

    Raises:
        DoesNotFitError: A run asks for more GPUs than there are.
    """
    largest = max(configs, key=lambda config: config.resources.gpus)
    asked, present = largest.resources.gpus, len(machine.gpus)
    if 0 < present < asked:
        raise DoesNotFitError(
            f"run {largest.name} does not fit because resources.gpus is {asked} and this machine has "
            f"{present}; resources.gpus={present} would fit"
        )


def submit_locally(
    runs: Sequence[PlannedRun], folder: ExperimentFolder, machine: Machine, *, grace_s: float
) -> PackFolder:
    """Start all these runs as one pack on this machine; the caller holds the experiment's lock.

    Raises:
        SubmissionError: The job did not start; the runs are as they were, and their folders stay.
    """
    pack = _new_pack_folder(folder)
    members = tuple(
        Member(
            name=run.config.name, gpus=run.config.resources.gpus, cpus=run.config.resources.cpus
        )
        for run in runs
    )
    write_pack(pack, Pack(members=members, machine=machine, grace_s=grace_s))
    for run in runs:
        write_submitted(run, pack=pack.name)
    try:
        start_locally(pack)
    except SubmissionError:
        for run in runs:
            write_state(run.folder, attrs.evolve(read_state(run.folder), status=run.state))
        raise
    return pack


def _new_pack_folder(folder: ExperimentFolder) -> PackFolder:
    folder.jobs.mkdir(exist_ok=True)
    for number in count():
        pack = folder.pack(f"pack-{number:04d}")
        with suppress(FileExistsError):
            pack.path.mkdir()
            break
    return pack


def write_submitted(run: PlannedRun, *, pack: str) -> None:
    """Make the run's folder say what it is to train, and that `pack` has it to do.

    A new folder is whole or absent. The state comes before the end of a request to cancel: an
    older job that still has the run in its queue must not see the one without the other.
    """
    folder = run.folder
    state = _submitted(read_state(folder), run.config, pack)
    if folder.path.exists():
        write_run_config(run.config, folder.config)
        write_state(folder, state)
        folder.cancel_request.unlink(missing_ok=True)
    else:
        unfinished = RunFolder(folder.path.with_name(f".{folder.name}"))
        shutil.rmtree(unfinished.path, ignore_errors=True)
        unfinished.path.mkdir(parents=True)
        write_run_config(run.config, unfinished.config)
        write_state(unfinished, state)
        unfinished.path.rename(folder.path)
    append_event(folder, "submitted", pack=pack)


def _submitted(before: RunState, config: RunConfig, pack: str) -> RunState:
    if before.status == "running":  # its supervisor died with it, and could not count the attempt
        before = before.ended(cause="node_failure", status="waiting")
    return attrs.evolve(
        before,
        status="submitted",
        reason="",
        wandb_id=before.wandb_id or secrets.token_hex(4),
        num_iterations=config.num_iterations,
        identity=config.identity,
        pack=pack,
    )

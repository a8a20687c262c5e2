"""`python -m trainers RUN_FOLDER`: start a run, or resume it from its newest checkpoint."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import attrs
from attrs import frozen

from trainers import exit_codes
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.errors import (
    LeaseHeldError,
    LeaseLostError,
    StopRequestedError,
    TrainerError,
)
from trainers.imports import pause_gc_during_import
from trainers.run.atomic_write import sweep
from trainers.run.failure_class import exit_code_of
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, Status, append_event, read_state, write_state
from trainers.run.writable_folders import prepare_folders
from trainers.stop_flag import StopFlag, set_pdeathsig
from trainers.training.startup import StartTimes, background_startup

logger = logging.getLogger("trainers")


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run in this process; return one of `trainers.exit_codes`."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="holds the run's config.yaml")
    parser.add_argument(
        "--attempt", type=int, help="number of this attempt; default: as counted in state.json"
    )
    parser.add_argument("--owner", help="owner of the lease, the same in a chain of attempts")
    arguments = parser.parse_args(argv)
    times = StartTimes()
    times.end("imports")
    folder = RunFolder(arguments.run_folder.absolute())
    stop = StopFlag()
    stop.listen()
    set_pdeathsig()
    # By default idle OpenMP threads spin, on cores that the data workers need. The variable is read
    # once, when torch loads the library: set it before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        prepare_folders(folder)
        config = read_run_config(folder.config)
        number = arguments.attempt
        if number is None:
            number = read_state(folder).num_attempts
        rank_info = RankInfo.from_environment()
        if rank_info.world_size > 1:
            # Hides DDP's advice against find_unused_parameters: see `DistributedGroup.wrap_ddp`.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        attempt = _Attempt(folder, config, rank_info, number, stop, times)
        if rank_info.rank > 0:  # rank 0 holds the lease for all ranks
            return attempt.outcome()[0]
        owner = arguments.owner or uuid4().hex
        with Lease.take(folder.lease, owner=owner, attempt=number, on_loss=_exit_at_once) as lease:
            sweep(folder.path, lease.check)
            fenced = attrs.evolve(folder, fence=lease.check)
            return attrs.evolve(attempt, folder=fenced).of_rank_zero()
    except LeaseHeldError as error:
        logger.error("%s", error)
        return exit_codes.NOTHING_TO_DO
    except (TrainerError, OSError) as error:
        logger.error("cannot start the run: %s", error)
        return exit_code_of(error)


def _exit_at_once(error: LeaseLostError) -> None:
    """End this process in the middle of whatever it does: it may not write to the run or to W&B."""
    # Called on the lease's thread too, where sys.exit would end that thread only.
    logger.error("%s", error)
    os._exit(exit_codes.NOTHING_TO_DO)


@frozen
class _Attempt:
    """One rank's part in an attempt."""

    folder: RunFolder
    config: RunConfig
    rank_info: RankInfo
    number: int
    stop: StopFlag
    times: StartTimes

    def of_rank_zero(self) -> int:
        """Train and record status and events; return the exit code. The caller holds the lease."""
        _set_status(self.folder, Status.RUNNING)
        append_event(self.folder, EventKind.ATTEMPT, pid=os.getpid())
        exit_code, status, reason = self.outcome()
        try:
            _set_status(self.folder, status, reason)
        except OSError as error:
            logger.error(
                "cannot record in %s that the run is %s: %s", self.folder.path, status, error
            )
        return exit_code

    def outcome(self) -> tuple[int, Status, str]:
        """Train; return the exit code, the status of the run, and the reason for it."""
        config, stop = self.config, self.stop
        sys.path += [str(path) for path in config.python_path]
        self.times.end("config and lease")
        try:
            with background_startup(self.folder, config, self.rank_info, self.times) as startup:
                with pause_gc_during_import():
                    from trainers.training.training_run import train_run

                finished = train_run(self.folder, config, startup, stop, attempt=self.number)
        except StopRequestedError as error:  # what was reached before is saved
            logger.info("%s", error)
            finished = False
        except Exception as error:
            logger.exception("the run has failed")
            return exit_code_of(error), Status.FAILED, f"{type(error).__name__}: {error}"
        if finished:
            logger.info("finished after %d iterations", config.num_iterations)
            return exit_codes.FINISHED, Status.FINISHED, ""
        reason = f"stopped by {stop.received.name}" if stop.received else "stopped"
        logger.info("%s; start it again to resume", reason)
        return exit_codes.STOPPED, Status.WAITING, reason


def _set_status(folder: RunFolder, status: Status, reason: str = "") -> None:
    state = attrs.evolve(read_state(folder), status=status, reason=reason)
    write_state(folder, state)
    append_event(folder, status, reason=reason)


if __name__ == "__main__":
    code = main()
    # os._exit skips the destruction of torch and gunpowder: with both imported a normal exit took
    # 1.3 to 1.7 s on two cores, this one 0.05 s. A preemption may leave seconds only, and a process
    # that is killed meanwhile loses its exit code. What os._exit skips but is needed runs here:
    # atexit functions, such as those of W&B, and flushing.
    warnings.simplefilter("ignore")  # numcodecs registers a function at exit that is deprecated
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

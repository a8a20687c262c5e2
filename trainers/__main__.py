"""`python -m trainers RUN_FOLDER`: start a run, or carry it on from where it was stopped."""

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
from trainers.distributed.rank_info import RankPlace
from trainers.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    LeaseHeldError,
    LeaseLostError,
)
from trainers.imports import quick_imports
from trainers.run.atomic_write import Fence, sweep, unfenced
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import append_event, read_state, write_state
from trainers.stop_flag import StopFlag, stop_with_supervisor
from trainers.training.startup import StartTimes, early_start

logger = logging.getLogger("trainers")


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run in this process; the result is one of `trainers.exit_codes`."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="holds the run's config.yaml")
    parser.add_argument("--attempt", type=int, help="its number; as the run's state counts")
    parser.add_argument("--owner", help="names the chain of attempts that this one belongs to")
    arguments = parser.parse_args(argv)
    times = StartTimes()
    times.end("imports")
    folder = RunFolder(arguments.run_folder.absolute())
    stop = StopFlag()
    stop.listen()
    stop_with_supervisor()
    # OpenMP's idle threads would spin on the cores that the data workers need. Read as torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        config = read_run_config(folder.config)
        number = arguments.attempt
        if number is None:
            number = read_state(folder).num_attempts
        place = RankPlace.from_environment()
        if place.size > 1:
            # DDP advises against find_unused_parameters, which it needs: `DistributedGroup`.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        attempt = _Attempt(folder, config, place, number, stop, times)
        if place.rank > 0:  # the first one holds the run for all of them
            return attempt.outcome(unfenced)[0]
        owner = arguments.owner or uuid4().hex
        with Lease.take(folder.lease, owner=owner, attempt=number, on_loss=_leave) as lease:
            sweep(folder.path, lease.check)
            return attempt.of_first_rank(lease.check)
    except LeaseHeldError as error:
        logger.error("%s", error)
        return exit_codes.NOTHING_TO_DO
    except ConfigError as error:
        logger.error("%s", error)
        return exit_codes.UNUSABLE
    except OSError as error:
        logger.error("the run cannot begin: %s", error)
        return exit_codes.FAILED


def _leave(error: LeaseLostError) -> None:
    """End this process, whatever it is doing: it may write nothing more, here or to W&B."""
    logger.error("%s", error)
    os._exit(exit_codes.NOTHING_TO_DO)


@frozen
class _Attempt:
    """One attempt at a run, as one rank has its part in it."""

    folder: RunFolder
    config: RunConfig
    place: RankPlace
    number: int
    stop: StopFlag
    times: StartTimes

    def of_first_rank(self, fence: Fence) -> int:
        """From restoring to the end; the caller holds the run's lease. The exit code."""
        _set_status(self.folder, fence, "running")
        append_event(self.folder, "attempt", fence=fence, pid=os.getpid())
        exit_code, status, reason = self.outcome(fence)
        try:
            _set_status(self.folder, fence, status, reason)
        except OSError as error:
            logger.error("%s cannot tell that the run is %s: %s", self.folder.path, status, error)
        return exit_code

    def outcome(self, fence: Fence) -> tuple[int, str, str]:
        """Train; the exit code, the status that the run is in, and the reason for it."""
        config, stop = self.config, self.stop
        sys.path += [str(path) for path in config.python_path]
        self.times.end("config and lease")
        try:
            with early_start(self.folder, config, self.place, self.times, fence) as early:
                with quick_imports():
                    from trainers.training.training_run import carry_on

                finished = carry_on(
                    self.folder, config, early, stop, attempt=self.number, fence=fence
                )
        except Exception as error:
            logger.exception("the run has failed")
            return _exit_code(error), "failed", f"{type(error).__name__}: {error}"
        if finished:
            logger.info("finished after %d iterations", config.num_iterations)
            return exit_codes.FINISHED, "finished", ""
        reason = f"stopped by {stop.received.name}" if stop.received else "stopped"
        logger.info("%s; start it again to carry on", reason)
        return exit_codes.STOPPED, "waiting", reason


def _exit_code(error: Exception) -> int:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)
    ):
        return exit_codes.OUT_OF_MEMORY
    unusable = isinstance(error, ConfigError | DataError | CheckpointError)
    return exit_codes.UNUSABLE if unusable else exit_codes.FAILED


def _set_status(folder: RunFolder, fence: Fence, status: str, reason: str = "") -> None:
    state = attrs.evolve(read_state(folder), status=status, reason=reason)
    write_state(folder, state, fence=fence)
    append_event(folder, status, fence=fence, reason=reason)


if __name__ == "__main__":
    code = main()
    warnings.simplefilter("ignore")  # numcodecs ends with a function that it calls deprecated
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking torch apart takes longer than some preemptions leave

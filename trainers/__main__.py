"""`python -m trainers RUN_FOLDER`: start a run, or resume it from its newest checkpoint."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import attrs
from attrs import frozen

from trainers import exit_codes
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.errors import (
    ConfigError,
    LeaseHeldError,
    LeaseLostError,
    StopRequestedError,
    TrainerError,
    UnavailableError,
)
from trainers.imports import pause_gc_during_import
from trainers.run import watchdog
from trainers.run.atomic_write import sweep
from trainers.run.background_log import flush_log, log_in_background
from trainers.run.backoff import retry
from trainers.run.failure_class import exit_code_of, may_come_back
from trainers.run.group_folder import create_for_group
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.run_state import (
    READ_TIMEOUT_S,
    EventKind,
    RunState,
    Status,
    open_state,
    read_state,
)
from trainers.run.sections import SECTIONS, Section, enter
from trainers.run.writable_folders import prepare_folders
from trainers.stop_flag import StopFlag, set_pdeathsig
from trainers.training.startup import StartTimes, background_startup

logger = logging.getLogger("trainers")

START_TIMEOUT_S = 60.0
"""How long a start waits for a file system; longer outages are for the next attempt."""
LAST_RECORDS_TIMEOUT_S = 10.0
"""Within a preemption's grace, after the checkpoint."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run in this process; return one of `trainers.exit_codes`."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="holds the run's config.yaml")
    parser.add_argument(
        "--attempt", type=int, help="number of this attempt; default: as counted in state.json"
    )
    parser.add_argument("--owner", help="owner of the lease, the same in a chain of attempts")
    arguments = parser.parse_args(argv)
    enter(Section.START)
    times = StartTimes()
    times.end("imports")
    folder = RunFolder(arguments.run_folder.absolute())
    stop = StopFlag()
    stop.listen()
    set_pdeathsig()
    # By default idle OpenMP threads spin, on cores that the data workers need. The variable is read
    # once, when torch loads the library: set it before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read once, too, when NumPy is imported. Samples are made on several threads; OpenBLAS with
    # threads of its own has mixed up the products of two callers (releases before mid-2026), and
    # may round otherwise than the processes of data workers do, which have one thread as well.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    log_in_background()
    with create_for_group(folder.path):
        return _start(folder, arguments, stop, times)


def _start(
    folder: RunFolder, arguments: argparse.Namespace, stop: StopFlag, times: StartTimes
) -> int:
    try:
        watchdog.start()
        prepare_folders(folder)
        # Whoever names an owner has submitted the run, with its config.
        config = _read_config(folder, stop, is_submitted=arguments.owner is not None)
        number = arguments.attempt
        if number is None:
            number = read_state(folder).num_attempts
        rank_info = RankInfo.from_environment()
        if rank_info.world_size > 1:
            # Hides DDP's advice against find_unused_parameters: see `DistributedGroup.wrap_ddp`.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        if rank_info.rank > 0:  # rank 0 holds the lease for all ranks, and records for them
            with suppress(ConfigError):  # rank 0 says what is wrong with it
                SECTIONS.learn(read_state(folder).slowest_sections_s)
            record = RunRecord(folder, RunState())
            return _Attempt(record, config, rank_info, number, stop, times).outcome()[0]
        owner = arguments.owner or uuid4().hex
        with Lease.take(
            folder.lease, owner=owner, attempt=number, on_loss=_exit_at_once, should_stop=stop
        ) as lease:
            fenced = attrs.evolve(folder, fence=lease.check)
            state = open_state(fenced, timeout_s=START_TIMEOUT_S, should_stop=stop)
            SECTIONS.learn(state.slowest_sections_s)
            retry(
                partial(sweep, folder.path, lease.check),
                timeout_s=START_TIMEOUT_S,
                passes=may_come_back,
                should_stop=stop,
            )
            record = RunRecord(fenced, state)
            return _Attempt(record, config, rank_info, number, stop, times).of_rank_zero()
    except LeaseHeldError as error:
        logger.error("%s", error)
        return exit_codes.NOTHING_TO_DO
    except StopRequestedError as error:
        logger.info("%s", error)
        return exit_codes.STOPPED
    except (TrainerError, OSError) as error:
        logger.error("cannot start the run: %s", error)
        return exit_code_of(error, folder.path)


def _read_config(folder: RunFolder, stop: StopFlag, *, is_submitted: bool) -> RunConfig:
    """Read the config, and wait for it if it cannot be read at present, or is gone for a moment.

    Args:
        is_submitted: Whether a supervisor has seen the run's folder: if it is missing, it is away.

    Raises:
        ConfigError: It is missing, or has faults.
        UnavailableError: It is missing, though the run is submitted.
        OSError: It cannot be read at present.
    """

    def is_missing(error: Exception) -> bool:
        return isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)

    missing_s = START_TIMEOUT_S if is_submitted else READ_TIMEOUT_S
    read = partial(read_run_config, folder.config)
    read = partial(retry, read, timeout_s=missing_s, passes=is_missing, should_stop=stop)
    try:
        return retry(read, timeout_s=START_TIMEOUT_S, should_stop=stop)
    except ConfigError as error:
        if is_submitted and is_missing(error):
            raise UnavailableError(f"{error}; its file system may be away") from error
        raise


def _exit_at_once(error: LeaseLostError | UnavailableError) -> None:
    """End this process in the middle of whatever it does: it may not write to the run or to W&B."""
    # Called on the lease's thread too, where sys.exit would end that thread only.
    logger.error("%s", error)
    flush_log()
    os._exit(exit_code_of(error))


@frozen
class _Attempt:
    """One rank's part in an attempt."""

    record: RunRecord
    config: RunConfig
    rank_info: RankInfo
    number: int
    stop: StopFlag
    times: StartTimes

    def of_rank_zero(self) -> int:
        """Train and record status and events; return the exit code. The caller holds the lease."""
        self._set_status(Status.RUNNING)
        self.record.event(EventKind.ATTEMPT, pid=os.getpid())
        exit_code, status, reason = self.outcome()
        enter(Section.CLOSE)  # ends the one so far: the next attempt knows how long that took
        self.record.update(slowest_sections_s=SECTIONS.learned())
        self._set_status(status, reason)
        self.record.close(LAST_RECORDS_TIMEOUT_S)
        return exit_code

    def outcome(self) -> tuple[int, Status, str]:
        """Train; return the exit code, the status of the run, and the reason for it."""
        config, stop = self.config, self.stop
        sys.path += [str(path) for path in config.python_path]
        self.times.end("config and lease")
        try:
            with background_startup(
                self.record, config, self.rank_info, self.times, stop
            ) as startup:
                with pause_gc_during_import():
                    from trainers.training.training_run import train_run

                finished = train_run(self.record.folder, config, startup, stop, attempt=self.number)
        except StopRequestedError as error:  # what was reached before is saved
            logger.info("%s", error)
            finished = False
        except Exception as error:
            logger.exception("the run has failed")
            reason = f"{type(error).__name__}: {error}"
            return exit_code_of(error, self.record.folder.path), Status.FAILED, reason
        if finished:
            logger.info("finished after %d iterations", config.num_iterations)
            return exit_codes.FINISHED, Status.FINISHED, ""
        reason = f"stopped by {stop.received.name}" if stop.received else "stopped"
        logger.info("%s; start it again to resume", reason)
        return exit_codes.STOPPED, Status.WAITING, reason

    def _set_status(self, status: Status, reason: str = "") -> None:
        self.record.update(status=status, reason=reason)
        self.record.event(status, reason=reason)


def exit_with(code: int) -> NoReturn:
    """End this process at once, with what an exit must not skip."""
    # os._exit skips the destruction of torch and gunpowder: with both imported a normal exit took
    # 1.3 to 1.7 s on two cores, this one 0.05 s. A preemption may leave seconds only, and a process
    # that is killed meanwhile loses its exit code. What os._exit skips but is needed runs here:
    # atexit functions, such as those of W&B, and flushing.
    warnings.simplefilter("ignore")  # numcodecs registers a function at exit that is deprecated
    atexit._run_exitfuncs()
    flush_log()
    os._exit(code)


if __name__ == "__main__":
    exit_with(main())

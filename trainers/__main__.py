"""`python -m trainers RUN_FOLDER`: start a run, or carry it on from where it was stopped."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from trainers import exit_codes
from trainers.config_io import read_run_config
from trainers.errors import CheckpointError, ConfigError, DataError, RunLockedError
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder
from trainers.run_lock import run_lock
from trainers.run_state import append_event, read_state, write_state
from trainers.stop_flag import StopFlag

logger = logging.getLogger("trainers")


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run in this process; the result is one of `trainers.exit_codes`."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="holds the run's config.yaml")
    folder = RunFolder(parser.parse_args(argv).run_folder.absolute())
    stop = StopFlag()
    stop.listen()
    # OpenMP's idle threads would spin on the cores that the data workers need. Read as torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        config = read_run_config(folder.config)
        with run_lock(folder):
            return _attempt(folder, config, stop)
    except RunLockedError as error:
        logger.error("%s", error)
        return exit_codes.NOTHING_TO_DO
    except (ConfigError, OSError) as error:
        logger.error("%s", error)
        return exit_codes.UNUSABLE


def _attempt(folder: RunFolder, config: RunConfig, stop: StopFlag) -> int:
    """One attempt, from restoring to its end; the caller holds the run's lock."""
    sys.path += [str(path) for path in config.python_path]
    _set_status(folder, "running")
    append_event(folder, "attempt", pid=os.getpid())
    try:
        from trainers.training_run import carry_on

        finished = carry_on(folder, config, stop)
    except Exception as error:
        logger.exception("the run has failed")
        _set_status(folder, "failed", f"{type(error).__name__}: {error}")
        unusable = isinstance(error, ConfigError | DataError | CheckpointError)
        return exit_codes.UNUSABLE if unusable else exit_codes.FAILED
    if finished:
        _set_status(folder, "finished")
        logger.info("finished after %d iterations", config.num_iterations)
        return exit_codes.FINISHED
    reason = f"stopped by {stop.received.name}" if stop.received else "stopped"
    _set_status(folder, "waiting", reason)
    logger.info("%s; start it again to carry on", reason)
    return exit_codes.STOPPED


def _set_status(folder: RunFolder, status: str, reason: str = "") -> None:
    write_state(folder, attrs.evolve(read_state(folder), status=status, reason=reason))
    append_event(folder, status, reason=reason)


if __name__ == "__main__":
    sys.exit(main())

"""A real scheduler for the tests in this folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from launcher.experiment.experiment import read_experiment
from scripts.slurm_sandbox.errors import CannotHereError
from scripts.slurm_sandbox.sandbox import Sandbox, sandbox_of_own
from tests.slurm.workplace import Result, Workplace, result
from trainers.config.config_io import write_run_config
from trainers.run.run_folder import RunFolder


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Slurm with the default options; Slurm's commands in this process speak to it."""
    with ExitStack() as stack:
        try:
            sandbox = stack.enter_context(sandbox_of_own())
        except CannotHereError as error:
            pytest.skip(str(error))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in sandbox.env.items():
            patch.setenv(name, value)
        yield sandbox


@pytest.fixture(autouse=True)
def leave_as_found(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test sees jobs, options or lost nodes of the one before."""
    yield
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").restore()


@pytest.fixture
def workplace(tmp_path, sandbox: Sandbox) -> Workplace:
    """Where a user works with the sandbox."""
    return Workplace(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Iterator[Callable[[], Result]]:
    """What the run of a `Workplace` comes to when nothing happens to it; trained meanwhile."""
    workplace = Workplace(tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace.folder)
        (config,) = read_experiment(workplace.folder / "naps.yaml").runs
    run = RunFolder(workplace.folder / "run")
    run.path.mkdir()
    write_run_config(run.config, config)
    trainer = subprocess.Popen(
        [sys.executable, "-m", "trainers", str(run.path)], stderr=subprocess.DEVNULL
    )

    def outcome() -> Result:
        assert trainer.wait(timeout=120) == 0
        return result(run)

    yield outcome
    trainer.kill()
    trainer.wait()

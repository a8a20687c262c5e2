"""The process that W&B brings along."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.trainers.metrics.conftest import reporting
from tests.trainers.metrics.services import living, services_of
from trainers.run.run_folder import RunFolder


def test_it_dies_with_the_trainer(folder: RunFolder) -> None:
    """Within 5 s of a SIGKILL nothing of W&B is left."""
    with reporting(folder, "offline", 3) as trainer:
        services = services_of(trainer.pid)
        assert services
        trainer.kill()

        assert living_after(services, seconds=5) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_its_death_costs_a_warning(folder: RunFolder, number: signal.Signals) -> None:
    """When it is killed, training goes on to its end, and metrics.jsonl is whole."""
    with reporting(folder, "offline", 100) as trainer:
        for service in services_of(trainer.pid):
            os.kill(service, number)

        warnings = finish(trainer)

    (warning,) = warnings
    assert warning.startswith("training continues without W&B: ")
    assert folder.metrics.read_bytes().count(b"\n") == 200


def test_its_hang_costs_a_warning(folder: RunFolder) -> None:
    """When it hangs, training goes on to its end, metrics.jsonl is whole, and it is killed."""
    with reporting(folder, "offline", 4000) as trainer:
        services = services_of(trainer.pid)
        os.kill(services[0], signal.SIGSTOP)

        warnings = finish(trainer)

        assert living_after(services, seconds=5) == []
    assert warnings == ["training continues without W&B: W&B does not answer"]
    assert folder.metrics.read_bytes().count(b"\n") == 8000


def finish(trainer: subprocess.Popen[str]) -> list[str]:
    """Let it come to a good end; the result is what it had to say on stderr."""
    _, errors = trainer.communicate()
    assert trainer.returncode == 0
    return errors.splitlines()


def living_after(services: list[int], *, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while living(services) and time.monotonic() < deadline:
        time.sleep(0.05)
    return living(services)

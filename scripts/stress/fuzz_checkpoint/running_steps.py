"""Faults while a whole run is trained, in whatever file of its folder: the next attempt ends it."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from launcher.experiment.experiment import read_experiment
from scripts.stress.fuzz_checkpoint.file_faults import Fault
from scripts.stress.fuzz_checkpoint.findings import in_words
from scripts.stress.fuzz_checkpoint.impatience import be_impatient
from scripts.stress.fuzz_checkpoint.steps import Protocol, Trial
from scripts.workloads.checkout import EXAMPLE
from scripts.workloads.file_calls import WRITING
from scripts.workloads.outcome import newest_checkpoint, tensors, values
from trainers import exit_codes
from trainers.__main__ import main
from trainers.config.config_io import write_run_config
from trainers.run.attempt_history import read_events
from trainers.run.run_folder import RunFolder

OVERRIDES = {
    "num_iterations": 8,
    "trainer": {"kind": "dummy", "batch_size": 1, "learning_rate": 0.01, "mirror_augment": True},
    "architecture.num_features": 1,
    "architecture.input_shape": [44, 44, 44],
    "checkpoint.every_iterations": 3,
    "metrics.every_iterations": 1,
    "wandb.mode": "disabled",
    "resources.cpus": 1,
    "sweep": None,
}
CHANGING = (*WRITING, "fsync")

FAULTS = {
    "ENOSPC": Fault(action="fail", number=errno.ENOSPC, operations=CHANGING),
    "ENOSPC-lasting": Fault(
        action="fail", number=errno.ENOSPC, operations=CHANGING, is_lasting=True
    ),
    "EIO": Fault(action="fail", number=errno.EIO, operations=CHANGING),
    "EROFS": Fault(action="fail", number=errno.EROFS, operations=WRITING, is_lasting=True),
    "kill": Fault(action="kill", operations=CHANGING),
}


def plan(run: Path, **changes: Any) -> None:
    """Write the config of a run into its folder."""
    texts = [f"{key}={json.dumps(value)}" for key, value in {**OVERRIDES, **changes}.items()]
    write_run_config(RunFolder(run).config, read_experiment(EXAMPLE, texts).runs[0])


def prepare(folder: Path) -> None:
    """Train the run that nothing happens to."""
    (folder / "reference").mkdir(parents=True)
    plan(folder / "reference")
    if main([str(folder / "reference")]) != exit_codes.FINISHED:
        raise RuntimeError("the undisturbed run has failed")


def undergo(trial: Trial) -> None:
    plan(trial.run)
    be_impatient()
    trial.arm()
    code = main([str(trial.run)])
    trial.faults.disarm()
    trial.say(f"seen exit {code} after {in_words(trial.faults.call(trial.step))}")
    if code == exit_codes.FINISHED:
        _is_complete(trial)
    elif code not in (exit_codes.FAILED, exit_codes.UNUSABLE, exit_codes.UNAVAILABLE):
        trial.say(f"wrong exit {code}")
    elif not trial.fault.is_lasting and _had_begun(trial) and not _had_come_to_its_end(trial):
        trial.say(f"wrong training did not continue: exit {code}")


def go_on(trial: Trial) -> None:
    code = main([str(trial.run)])
    if code != exit_codes.FINISHED:
        trial.say(f"wrong the next attempt has failed: {code}")
    else:
        _is_complete(trial)


def _had_begun(trial: Trial) -> bool:
    return any(each["event"] == "began" for each in read_events(RunFolder(trial.run).events))


def _had_come_to_its_end(trial: Trial) -> bool:
    """So that the fault struck the last save, or what was told after it."""
    last = OVERRIDES["num_iterations"]
    ends = ("checkpoint", "checkpoint_failed")
    return any(
        each["event"] in ends and each["iteration"] == last
        for each in read_events(RunFolder(trial.run).events)
    )


def _is_complete(trial: Trial) -> None:
    run, reference = RunFolder(trial.run), RunFolder(trial.run.parents[1] / "reference")
    if newest_checkpoint(run).name != newest_checkpoint(reference).name:
        trial.say(f"wrong the last checkpoint is {newest_checkpoint(run).name}")
    elif tensors(run) != tensors(reference):
        trial.say("wrong the tensors of the last checkpoint differ")
    if values(run) != values(reference):
        trial.say("wrong metrics.jsonl differs")


RUNNING = Protocol(
    name="running",
    prepare=prepare,
    undergo=undergo,
    go_on=go_on,
    faults=FAULTS,
    sample_every=12,
)

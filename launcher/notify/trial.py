"""Try the channels of an experiment with a test message."""

from __future__ import annotations

from pathlib import Path

import attrs
from attrs import frozen

from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.notify.channels import channels_of, send_all
from launcher.notify.messages import trial_message


@frozen(kw_only=True)
class Trial:
    """What a test message on one channel has come to."""

    channel: str
    result: str
    failed: bool = False


def try_channels(experiment: Experiment, root: Path) -> list[Trial]:
    """Send a test message by each channel of an experiment, and return what became of it.

    Args:
        root: The folder of experiments: W&B sends alerts about runs that it shows already.
    """
    config = experiment.notify
    if config is None:
        return []
    folder = ExperimentFolder(root / experiment.name)
    message = attrs.evolve(
        trial_message(experiment.name, folder), runs=tuple(run.name for run in experiment.runs)
    )
    found = [
        Trial(channel=each.channel, result=each.error or "sent", failed=bool(each.error))
        for each in send_all([message], channels_of(config, folder))
    ]
    if config.mail_user:
        when = ",".join(config.mail_type)
        result = f"not tried: Slurm mails {config.mail_user} itself, at {when} of each job"
        found.append(Trial(channel="Slurm's mail", result=result))
    return found

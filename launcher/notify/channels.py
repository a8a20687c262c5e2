"""The ways by which a message goes out: a command, a webhook, an alert of W&B.

A channel takes seconds at most and says in a sentence why it failed, without any secret: neither a
webhook's URL nor what a server or a command made of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import NotifyConfig, without_secrets
from launcher.notify.messages import Message, trial_message
from launcher.notify.webhook import NotToldError, post
from trainers.config.config_io import read_run_config
from trainers.errors import TrainerError
from trainers.run.run_state import read_state

if TYPE_CHECKING:
    from launcher.experiment.experiment import Experiment

TIMEOUT_S = 10.0
"""For all messages, all channels and all tries together."""
_MAX_RUNS = 20
"""Of a message, how many are looked at to find one that W&B shows."""
_MAX_NAMES = 100
"""In a variable, which Linux limits to 128 KiB; the JSON has all."""
_SHELL_VARIABLE = "LAUNCH_NOTIFY_{}"

_running: set[subprocess.Popen[bytes]] = set()


@frozen(kw_only=True)
class Channel:
    """One way to tell somebody."""

    name: str
    send: Callable[[Message], None]
    """Raises NotToldError."""


@frozen(kw_only=True)
class Outcome:
    """What became of a message on a channel."""

    message: Message
    channel: str
    error: str
    """Empty if it was taken."""


@frozen(kw_only=True)
class Trial:
    """What a test message on one channel has come to."""

    channel: str
    result: str
    failed: bool = False


def channels_of(config: NotifyConfig, folder: ExperimentFolder) -> list[Channel]:
    """Return the channels by which we tell; Slurm's mails are Slurm's own."""
    found = []
    if config.command:
        found.append(Channel(name="command", send=partial(_run_command, config.command, folder)))
    if config.url or config.url_from:
        found.append(Channel(name=f"webhook ({config.form})", send=partial(post, config)))
    if config.wandb:
        found.append(Channel(name="W&B alert", send=partial(_alert, folder)))
    return found


def send_all(messages: Sequence[Message], channels: Sequence[Channel]) -> Iterator[Outcome]:
    """Send messages, in order, by all channels at once; yield what became of each.

    What has no answer within `TIMEOUT_S` is left to its thread, which keeps no process alive.
    """
    if not messages:
        return
    deadline = time.monotonic() + TIMEOUT_S
    sendings = []
    for channel in channels:
        errors: list[str] = []
        thread = threading.Thread(target=_send, args=(channel, messages, errors), daemon=True)
        thread.start()
        sendings.append((channel, thread, errors))
    for channel, thread, errors in sendings:
        thread.join(max(0.0, deadline - time.monotonic()))
        late = [f"no answer within {TIMEOUT_S:g} s"] * (len(messages) - len(errors))
        for message, error in zip(messages, [*errors, *late], strict=False):
            yield Outcome(message=message, channel=channel.name, error=error)
    kill_children()


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


def kill_children() -> None:
    """Kill the commands that are still running, with all that they have started."""
    for process in list(_running):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _send(channel: Channel, messages: Sequence[Message], errors: list[str]) -> None:
    for message in messages:
        try:
            channel.send(message)
            errors.append("")
        except NotToldError as error:
            errors.append(str(error))
        except Exception as error:  # its text may hold the URL
            errors.append(f"it failed with {type(error).__name__}")


def _run_command(command: str, folder: ExperimentFolder, message: Message) -> None:
    fields = message.as_json
    variables = {
        _SHELL_VARIABLE.format(name.upper()): " ".join(value[:_MAX_NAMES])
        if isinstance(value, (tuple, list))
        else str(value)
        for name, value in fields.items()
        if not isinstance(value, Mapping)
    }
    cwd = folder.path if folder.path.is_dir() else Path.cwd()  # before the first submission
    _run(["/bin/sh", "-c", command], fields, env=variables, cwd=cwd)


def _alert(folder: ExperimentFolder, message: Message) -> None:
    """Have W&B send an alert, by a process of its own: its client is slow and heavy to import."""
    fields = {"title": message.title, "text": message.text, "level": message.level}
    run = next(_online_runs(folder, message), None)
    if run is None:
        raise NotToldError("no run on W&B: not submitted, or wandb.mode is not online")
    with tempfile.TemporaryDirectory() as empty:
        _run(
            [sys.executable, "-m", "trainers.metrics.wandb_alert"],
            {**fields, **run},
            env={"PYTHONSAFEPATH": "1"},
            cwd=Path(empty),
        )


def _online_runs(folder: ExperimentFolder, message: Message) -> Iterator[dict[str, Any]]:
    for name in message.runs[:_MAX_RUNS]:
        run = folder.run(name)
        try:
            config, state = read_run_config(run.config), read_state(run)
        except (OSError, TrainerError):
            continue
        if config.wandb.mode == "online" and state.wandb_id:
            yield {
                "entity": config.wandb.entity,
                "project": config.wandb.project,
                "run_id": state.wandb_id,
            }


def _run(
    command: Sequence[str], content: Mapping[str, Any], *, env: Mapping[str, str], cwd: Path
) -> None:
    """Run a command with JSON on its standard input; raise NotToldError if it fails."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            cwd=cwd,
            process_group=0,
        )
        _running.add(process)
        try:
            process.communicate(json.dumps(content).encode(), timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise NotToldError(f"killed, since it took more than {TIMEOUT_S:g} s") from None
        finally:
            _running.discard(process)
        if process.returncode:
            last = _last_line(output)
            raise NotToldError(f"exit code {process.returncode}{f': {last}' if last else ''}")


def _last_line(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - 2048))
    lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return without_secrets(lines[-1].strip())[:300] if lines else ""

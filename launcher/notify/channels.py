"""The ways by which a message goes out: a command, a webhook, an alert of W&B.

A channel takes seconds at most and says in a sentence why it failed, without any secret: neither a
webhook's URL nor what a server or a command made of it.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import NotifyConfig, without_secrets
from launcher.notify.messages import Message
from trainers.config.config_io import read_run_config
from trainers.errors import TrainerError
from trainers.run.run_state import read_state

TIMEOUT_S = 10.0
"""For all messages, all channels and all tries together."""
_TRY_S = 4.0
_PAUSE_S = 1.0
_MAX_RUNS = 20
"""Of a message, how many are looked at to find one that W&B shows."""
_SHELL_VARIABLE = "LAUNCH_NOTIFY_{}"

_running: set[subprocess.Popen[bytes]] = set()


class NotToldError(Exception):
    """A channel did not take the message: a sentence without secrets."""


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


def channels_of(config: NotifyConfig, folder: ExperimentFolder) -> list[Channel]:
    """Return the channels by which we tell; Slurm's mails are Slurm's own."""
    found = []
    if config.command:
        found.append(Channel(name="command", send=partial(_run_command, config.command, folder)))
    if config.url or config.url_from:
        found.append(Channel(name=f"webhook ({config.form})", send=partial(_post, config)))
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


def kill_children() -> None:
    """Kill the commands that are still running, with all that they have started."""
    for process in list(_running):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def problems_of(config: NotifyConfig) -> list[str]:
    """Return what can be known from here to keep channels from telling anybody."""
    if not (config.url or config.url_from):
        return []
    try:
        webhook_url(config)
    except NotToldError as error:
        return [str(error)]
    return []


def webhook_url(config: NotifyConfig) -> str:
    """Return the URL of the webhook, a secret.

    Raises:
        NotToldError: It is not where `url_from` says, or others may read it there.
    """
    if config.url_from is None:
        return config.url or ""
    kind, _, where = config.url_from.partition(":")
    url = os.environ.get(where, "") if kind == "env" else _read_secret(where)
    if not url:
        raise NotToldError(
            f"the variable {where} is not set on {os.uname().nodename}; jobs get it only from the "
            "shell that submits them, and not on every site: a file works everywhere"
            if kind == "env"
            else f"{where} is empty; write the URL of the webhook into it"
        )
    if not url.startswith(("http://", "https://")) or len(url.split()) != 1:
        raise NotToldError(f"{config.url_from} does not hold a URL that starts with http(s)://")
    return url


def _read_secret(where: str) -> str:
    try:
        path = Path(where).expanduser()
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(status.st_mode)
                raise NotToldError(
                    f"{path} may be read or written by others (mode {mode:04o}), and holds a "
                    f"secret: chmod 600 {path}"
                )
            return file.read(4096).decode(errors="replace").strip()
    except OSError as error:
        raise NotToldError(f"{where} cannot be read: {error.strerror}") from None
    except RuntimeError:
        raise NotToldError(f"nobody knows where the home folder of {where} is") from None


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
        _SHELL_VARIABLE.format(name.upper()): " ".join(value)
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
        raise NotToldError("W&B shows none of these runs: their wandb.mode is not online")
    with tempfile.TemporaryDirectory() as empty:
        _run(
            [sys.executable, "-m", "trainers.metrics.wandb_alert"],
            {**fields, **run},
            env={"WANDB_DIR": empty, "WANDB_SILENT": "true", "PYTHONSAFEPATH": "1"},
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


def _post(config: NotifyConfig, message: Message) -> None:
    body = json.dumps(_FORMS[config.form](message)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "launch"}
    request = Request(webhook_url(config), body, headers)
    try:
        _open(request)
    except NotToldError as error:
        if not error.__cause__:  # the server has said no
            raise
        time.sleep(_PAUSE_S)
        _open(request)


def _open(request: Request) -> None:
    """Send a request; raise NotToldError, with a cause if another try may help."""
    try:
        with build_opener(_NoRedirect).open(request, timeout=_TRY_S):
            return
    except HTTPError as error:
        error.close()
        passes = error.code == 429 or error.code >= 500
        problem = NotToldError(f"{request.host} answered {error.code} {error.reason}")
        raise problem from (error if passes else None)
    except (URLError, HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        text = reason.strerror if isinstance(reason, OSError) else None
        raise NotToldError(
            f"{request.host} cannot be reached: {text or type(reason).__name__}"
        ) from error


class _NoRedirect(HTTPRedirectHandler):
    """urllib would follow with a GET, which tells nobody."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _slack(message: Message) -> dict[str, Any]:
    escaped = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"*{message.title}*\n{escaped}"}


def _apprise(message: Message) -> dict[str, Any]:
    return {"title": message.title, "body": message.text, "type": message.level}


_FORMS: Mapping[str, Callable[[Message], dict[str, Any]]] = {
    "slack": _slack,
    "apprise": _apprise,
    "json": lambda message: message.as_json,
}

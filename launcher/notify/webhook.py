"""Webhooks: a message as JSON for Slack, an Apprise server, or whatever takes all fields.

The URL of a webhook may be a secret. It is looked up when it is needed, and is in no text; nor are
the words of a server or of an exception, which may quote it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, responses
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from launcher.experiment.notify_config import NotifyConfig
from launcher.notify.messages import Message

_TRY_S = 4.0
_PAUSE_S = 1.0


class NotToldError(Exception):
    """A channel did not take the message: a sentence without secrets."""


def problems_of(config: NotifyConfig) -> list[str]:
    """Return what can be known from here to keep channels from telling anybody."""
    if not (config.url or config.url_from):
        return []
    try:
        webhook_url(config)
    except NotToldError as error:
        return [str(error)]
    return []


def post(config: NotifyConfig, message: Message) -> None:
    """Send a message, and once more if that may help.

    Raises:
        NotToldError: It was not taken.
    """
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
    host = urlsplit(request.full_url).netloc.rpartition("@")[2]
    try:
        with build_opener(_NoRedirect).open(request, timeout=_TRY_S):
            return
    except HTTPError as error:
        error.close()
        passes = error.code in (429, 503)  # others may have been taken all the same
        phrase = responses.get(error.code, "")  # the server's own words may quote the URL
        problem = NotToldError(f"{host} answered {error.code} {phrase}".rstrip())
        raise problem from (error if passes else None)
    except (URLError, HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        text = reason.strerror if isinstance(reason, OSError) else None
        problem = NotToldError(f"{host} cannot be reached: {text or type(reason).__name__}")
        # Bare errors come after the message was sent; it may have been taken.
        raise problem from (error if isinstance(error, URLError) else None)


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

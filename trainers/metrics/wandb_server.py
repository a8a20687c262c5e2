"""Ask W&B's server itself how far a run has come, and put its refusals into words.

W&B's client confirms nothing: after a refusal of rows (a deleted run, a key that was revoked) its
service drops all later ones without a word, and `finish` succeeds.
"""

from __future__ import annotations

import json
import os
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from trainers.errors import LeaseHeldError
from trainers.metrics.row_transfer import LostRowsError
from trainers.run.wandb_graphql import ask, basic

if TYPE_CHECKING:
    from wandb import Run, Settings

TIMEOUT_S = 20.0

_QUERY = """
query RunResumeStatus($entity: String, $project: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { name historyLineCount historyTail }
  }
}
"""
"""What W&B's client asks when it resumes a run; its answer decides which rows it sends."""
_STATUS = re.compile(r"(?:error|HTTP|Error)[ :]+(\d{3})\b")
_SECRET = re.compile(r"wandb_v\d+_\w+|\b[0-9a-f]{40}\b")
_SENTENCES = {
    401: "W&B does not accept the API key (401): log in again with `wandb login`, or set "
    "WANDB_API_KEY",
    403: "this account may not write to the W&B project (403): look at wandb.entity and "
    "wandb.project, or ask the project's owner",
    404: "the W&B run or its project is gone (404): it was deleted in the browser, where it can be "
    "restored for some days",
    409: "W&B does not take the run's id (409): the run was deleted in the browser, where it can "
    "be restored for some days, or the id belongs to another one",
    429: "W&B has too many requests (429)",
}
_WORDS = {
    "there is no API key of W&B: log in with `wandb login`, or set WANDB_API_KEY": (
        "api_key not configured",
        "no api key",
        "not logged in",
    ),
    "W&B cannot be reached from this machine": (
        "connection refused",
        "no such host",
        "name resolution",
        "name or service",
        "unreachable",
    ),
    "W&B does not answer": (
        "timed out",
        "deadline exceeded",
        "did not respond in time",
        "did not close",
    ),
}


class ServerError(Exception):
    """W&B's server does not say how far a run has come."""


def last_step_of(run: Run, *, timeout_s: float = TIMEOUT_S) -> int:
    """Return the step of the last row that the server has of a run; -1 without one.

    Raises:
        ServerError: The server cannot be reached, refuses, or has no such run.
    """
    variables = {"entity": run.entity, "project": run.project, "name": run.id}
    answer = _ask(run.settings, _QUERY, variables, timeout_s)
    bucket = (answer.get("model") or {}).get("bucket")
    if bucket is None:
        raise ServerError("error 404: no such run")
    tail = json.loads(bucket.get("historyTail") or "[]")
    return int(json.loads(tail[-1])["_step"]) if tail else -1


def sentence_of(error: BaseException) -> str:
    """Return what is wrong with W&B, in words, without any secret."""
    if isinstance(error, LeaseHeldError):
        return f"another process has the run open at W&B: {error}"
    if isinstance(error, LostRowsError):
        return str(error)
    # An exception of W&B's API has the status beside its text, which is the server's.
    refused = getattr(getattr(error, "response", None), "http_status", 0)
    has_words = refused in _SENTENCES or refused >= 500
    text = f"error {refused}" if has_words else _SECRET.sub("***", str(error))
    if key := os.environ.get("WANDB_API_KEY"):
        text = text.replace(key, "***")
    if found := _STATUS.search(text):
        status = int(found[1])
        if status >= 500:
            return f"W&B's server has failed ({status})"
        if status in _SENTENCES:
            return _SENTENCES[status]
    for sentence, words in _WORDS.items():
        if any(each in text.lower() for each in words):
            return sentence
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


def _ask(
    settings: Settings, query: str, variables: dict[str, Any], timeout_s: float
) -> dict[str, Any]:
    authorization = _authorization(settings)
    try:
        answer = ask(settings.base_url, authorization, query, variables, timeout_s=timeout_s)
        data = answer["data"]
    except HTTPError as error:
        raise ServerError(f"error {error.code}") from None
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise ServerError(str(error)) from None
    if not isinstance(data, dict):
        raise ServerError(f"the server refuses: {answer.get('errors')}")
    return data


def _authorization(settings: Settings) -> str:
    if settings.api_key:
        return basic(settings.api_key)
    from wandb.apis.public.service_api import ServiceApi  # the one that exchanges identity tokens

    return f"Bearer {ServiceApi(settings).access_token(TIMEOUT_S)}"

"""Who is told what becomes of an experiment: `notify` in its file."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import attrs
from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable, in_, min_len, optional

from launcher.experiment.experiment_folder import ExperimentFolder
from trainers.run.atomic_write import atomic_write

NotifyEvent = Literal["finished", "failed", "given_up", "hang", "non_finite", "done"]
WebhookForm = Literal["slack", "apprise", "json"]

_DEFAULT_EVENTS: tuple[NotifyEvent, ...] = ("failed", "given_up", "hang", "non_finite", "done")
_MAIL_TYPES = (
    *("NONE", "BEGIN", "END", "FAIL", "REQUEUE", "ALL", "INVALID_DEPEND", "STAGE_OUT"),
    *("TIME_LIMIT", "TIME_LIMIT_90", "TIME_LIMIT_80", "TIME_LIMIT_50", "ARRAY_TASKS"),
)
_URL = re.compile(r"(https?://)(?:[^/\s@'\"]*@)?([^/\s'\"?#]+)[^\s'\"]*", re.IGNORECASE)
_SOURCE = re.compile(r"env:[A-Za-z_]\w*|file:[~/].*")
_MAIL_USER = re.compile(r"[^\s,;'\"]+(,[^\s,;'\"]+)*")
_SECRET_HOSTS = re.compile(
    r"(^|\.)(hooks?|webhooks?)\.|(^|\.)(discord(app)?\.com|ntfy\.sh|api\.telegram\.org|"
    r"chat\.googleapis\.com|maker\.ifttt\.com|logic\.azure\.com)$"
)
"""Services whose URLs are all that it takes to write there."""
_ELSEWHERE = (
    "put it into a file of mode 0600 or a variable, and name that: "
    "url_from: file:~/.config/launch/webhook, or url_from: env:NAME"
)


def without_secrets(text: str) -> str:
    """Return a text with every URL in it cut down to its host."""
    return _URL.sub(r"\1\2/…", text)


def has_secret(url: str) -> bool:
    """Return whether a URL seems to contain a token or a password."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        return True
    if _SECRET_HOSTS.search((parts.hostname or "").lower()):
        return True
    return any(map(_is_token, re.split(r"[/._~-]", parts.path)))


def _is_token(word: str) -> bool:
    is_mixed = re.search(r"\d", word) and re.search("[A-Za-z]", word)
    return len(word) >= 20 or bool(len(word) >= 8 and is_mixed)


def _plain_url(_: object, __: Attribute[Any], url: str | None) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_secret = has_secret(url)
    except ValueError:
        is_web = is_secret = False
    if not is_web:
        raise ValueError("must be a URL that starts with http:// or https://")
    if is_secret:
        raise ValueError(
            "this URL seems to contain a token or a password, which must be in no file of an "
            f"experiment; {_ELSEWHERE}"
        )


def _url_source(_: object, __: Attribute[Any], source: str | None) -> None:
    if source is not None and not _SOURCE.fullmatch(source):
        raise ValueError(
            "must be env:NAME for a variable, or file:PATH with a path that starts with / or ~; "
            "the URL itself must not be here"
        )


def _command_line(_: object, __: Attribute[Any], command: str | None) -> None:
    if command is None:
        return
    if not command.strip():
        raise ValueError("must be a line for /bin/sh; found an empty one")
    if any(has_secret(match[0]) for match in _URL.finditer(command)):
        raise ValueError(
            "contains a URL that seems to hold a token or a password, which must be in no file of "
            "an experiment; have the command read it from a file of its own"
        )


def _mail_address(_: object, __: Attribute[Any], user: str | None) -> None:
    if user is not None and not _MAIL_USER.fullmatch(user):
        raise ValueError(f"must be users or addresses with commas between them; found {user!r}")


@frozen(kw_only=True)
class NotifyConfig:
    """Who is told when a run fails, or the experiment is done; nobody by default.

    No secret belongs here: a URL that holds one lies in a file or in a variable.
    """

    events: tuple[NotifyEvent, ...] = field(
        default=_DEFAULT_EVENTS,
        validator=[deep_iterable(in_(get_args(NotifyEvent))), min_len(1)],
    )
    """What is told: `given_up` is a run whose retries are used up, `failed` one that is not tried
    again for another reason, `hang` and `non_finite` ends of attempts after which the run goes on,
    `done` that all runs of the experiment are over."""
    command: str | None = field(default=None, validator=_command_line)
    """A line for `/bin/sh`. It gets the message as JSON on its standard input, and in variables
    `LAUNCH_NOTIFY_TITLE`, `LAUNCH_NOTIFY_TEXT`, …"""
    url: str | None = field(default=None, validator=_plain_url)
    """A webhook whose URL is no secret."""
    url_from: str | None = field(default=None, validator=_url_source)
    """Where the URL of a webhook is found when it is needed: `file:PATH`, which only its owner may
    read, or `env:NAME`."""
    form: WebhookForm = field(default="json", validator=in_(get_args(WebhookForm)))
    """What the webhook is sent: what Slack takes, what an Apprise server takes, or all fields."""
    wandb: bool = False
    """Whether W&B sends an alert, for runs that it shows online."""
    mail_user: str | None = field(default=None, validator=optional(_mail_address))
    """Whom Slurm mails about the jobs: `sbatch --mail-user`."""
    mail_type: tuple[str, ...] = field(
        default=("END", "FAIL"), validator=[deep_iterable(in_(_MAIL_TYPES)), min_len(1)]
    )
    """When Slurm mails: `sbatch --mail-type`. A job holds several runs, and may be requeued."""

    def __attrs_post_init__(self) -> None:
        if self.url is not None and self.url_from is not None:
            raise ValueError("url_from: found beside url; one webhook has one URL: remove one")

    @property
    def is_told_by_us(self) -> bool:
        """Whether there is a channel besides Slurm's mails."""
        return bool(self.command or self.url or self.url_from or self.wandb)

    @property
    def sbatch(self) -> dict[str, Any]:
        """The options of `sbatch` that have Slurm send mails."""
        if self.mail_user is None:
            return {}
        return {"mail-user": self.mail_user, "mail-type": ",".join(self.mail_type)}


def write_notify(folder: ExperimentFolder, config: NotifyConfig | None) -> None:
    """Write who is told into the experiment's folder, where its jobs look; nothing if unchanged.

    A file that is not one, half edited say, is left alone if nobody is to be told.
    """
    if read_notify(folder) == config:
        return
    if config is None:
        folder.notify.unlink(missing_ok=True)
    else:
        with atomic_write(folder.notify) as file:
            file.write(json.dumps(attrs.asdict(config), indent=1).encode())


def tells_somebody(folder: ExperimentFolder) -> bool:
    """Return whether somebody is told by other ways than Slurm's mails.

    Raises:
        OSError: That cannot be read.
    """
    config = read_notify(folder)
    return config is not None and config.is_told_by_us


def read_notify(folder: ExperimentFolder) -> NotifyConfig | None:
    """Return who is told; None if nobody is, or the file is not one.

    Raises:
        OSError: It cannot be read.
    """
    try:
        data = json.loads(folder.notify.read_bytes())
        known: dict[str, Any] = {
            each.name: tuple(data[each.name]) if type(data[each.name]) is list else data[each.name]
            for each in attrs.fields(NotifyConfig)
            if each.name in data
        }
        return NotifyConfig(**known)
    except (FileNotFoundError, AttributeError, TypeError, ValueError):
        return None

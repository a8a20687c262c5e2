"""Who is told, as an experiment file says it."""

import pytest

from launcher.experiment.experiment import read_experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import (
    NotifyConfig,
    has_secret,
    read_notify,
    without_secrets,
    write_notify,
)
from scripts.workloads.empty_volume import write_empty_volume
from tests.launcher.workplace import EXPERIMENT
from trainers.errors import ConfigError

SECRET = "https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/abcDEF123ghiJKL456mnoPQR"


@pytest.fixture
def experiment(tmp_path):
    """Reads an experiment with this as its `notify`, and overrides."""

    write_empty_volume(tmp_path / "volume.zarr")

    def read(notify, *overrides):
        path = tmp_path / "experiment.yaml"
        path.write_text(EXPERIMENT + (f"notify: {notify}\n" if notify else ""))
        return read_experiment(path, overrides)

    return read


def test_nobody_is_told_by_default(experiment):
    """And a run knows nothing of it: its config is the same with and without."""
    silent = experiment("")
    told = experiment("{command: mail -s $LAUNCH_NOTIFY_TITLE me, events: [done]}")

    assert silent.notify is None
    assert told.notify == NotifyConfig(command="mail -s $LAUNCH_NOTIFY_TITLE me", events=("done",))
    assert told.runs == silent.runs


def test_it_can_be_overridden_and_not_swept(experiment):
    """It belongs to the experiment, not to a run."""
    assert experiment("{command: a}", "notify.command=b").notify.command == "b"

    with pytest.raises(ConfigError, match=r"sweep\.notify\.command: cannot be swept"):
        experiment("{command: a}", "sweep.notify.command=[b, c]")


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        "https://discord.com/api/webhooks/12/ab",
        "https://me:password@chat.lab.org/hook",
        "https://chat.lab.org/hook?token=a",
        "https://chat.lab.org/hooks/fa83hd02kfh3",
        "https://webhooks.lab.org/a",
        "https://ntfy.sh/our-lab",
    ],
)
def test_urls_with_secrets(url):
    """Known services, passwords, queries, and what looks like a token."""
    assert has_secret(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "http://apprise.lab.org:8000/notify/em-segmentation-alerts",
        "https://chat.lab.org/hooks/launch2",
    ],
)
def test_urls_without_secrets(url):
    """A name is no token, a port is no password."""
    assert not has_secret(url)


@pytest.mark.parametrize(
    ("notify", "problem"),
    [
        (f"{{url: '{SECRET}'}}", "notify.url: this URL seems to contain a token"),
        (f"{{url_from: '{SECRET}'}}", "notify.url_from: must be env:NAME"),
        (f"{{url: ['{SECRET}']}}", "notify.url: found ['https://hooks.slack.com/…"),
        (f"{{command: 'curl -d @- {SECRET}'}}", "notify.command: contains a URL"),
        (f"{{form: '{SECRET}'}}", "notify.form: found 'https://hooks.slack.com/…"),
        (f"'{SECRET}'", "notify: found 'https://hooks.slack.com/…"),
    ],
)
def test_a_secret_is_refused_and_not_shown(experiment, notify, problem):
    """Wherever it was put; the error says where it belongs."""
    with pytest.raises(ConfigError) as refusal:
        experiment(notify)

    assert problem in str(refusal.value)
    assert "services" not in str(refusal.value)


def test_a_secret_on_the_command_line_is_not_shown_either(experiment):
    """An override is quoted in the error, but for this."""
    with pytest.raises(ConfigError) as refusal:
        experiment("", f"notify.url={SECRET}")

    assert "command line: notify.url=https://hooks.slack.com/…: " in str(refusal.value)
    assert "services" not in str(refusal.value)


@pytest.mark.parametrize(
    ("notify", "problem"),
    [
        ("{events: [fails]}", "did you mean 'failed'?"),
        ("{events: []}", "must not be empty"),
        ("{url: ftp://a.org}", "must be a URL that starts with http:// or https://"),
        ("{url_from: file:here}", "a path that starts with / or ~"),
        ("{url: http://a.org, url_from: env:A}", "one webhook has one URL"),
        ("{command: ' '}", "must be a line for /bin/sh"),
        ("{mail_user: me and you}", "must be users or addresses"),
        ("{mail_user: me, mail_type: [end]}", "found 'end'; allowed: NONE, BEGIN, END"),
        ("{webhook: a}", "unknown key"),
    ],
)
def test_what_cannot_be_used(experiment, notify, problem):
    """The error names the key and what is allowed."""
    with pytest.raises(ConfigError) as refusal:
        experiment(notify)

    assert "notify" in str(refusal.value)
    assert problem in str(refusal.value)


def test_urls_are_cut_down_to_their_host():
    """In whatever text."""
    text = f"curl: (22) {SECRET} said no, and http://me:pass@a.org?b=c, too"

    assert without_secrets(text) == (
        "curl: (22) https://hooks.slack.com/… said no, and http://a.org/… too"
    )


def test_what_is_written_is_read(tmp_path):
    """Keys of a later version are left out; a damaged file tells nobody, and stays to be mended."""
    folder = ExperimentFolder(tmp_path)
    assert read_notify(folder) is None
    config = NotifyConfig(url_from="env:A", form="slack", mail_user="a@b.org,c")

    write_notify(folder, config)
    before = folder.notify.stat().st_mtime_ns
    write_notify(folder, config)

    assert read_notify(folder) == config
    assert folder.notify.stat().st_mtime_ns == before
    folder.notify.write_text(folder.notify.read_text().replace('"url":', '"later": 1, "url":'))
    assert read_notify(folder) == config
    folder.notify.write_text("{")
    assert read_notify(folder) is None
    write_notify(folder, None)
    assert folder.notify.read_text() == "{"
    write_notify(folder, config)
    assert read_notify(folder) == config
    write_notify(folder, None)
    assert not folder.notify.exists()

"""Messages by real commands, and to a real server on loopback."""

import json
import socket

import attrs
import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import NotifyConfig
from launcher.notify import channels, webhook
from launcher.notify.channels import channels_of, send_all
from launcher.notify.messages import Message
from scripts.workloads.processes import is_running
from tests.fakes.http_server import serving

MESSAGE = Message(
    event="failed",
    experiment="fib25",
    folder="/data/fib25",
    cause="crashed",
    runs=("a", "b"),
    title="fib25: 2 runs failed (crashed)",
    text="a, b\na: loss < 0 & more",
    level="failure",
)
TOKEN = "T0AB12CD3-abcDEF123ghiJKL456"


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def soon(monkeypatch):
    """Nothing is waited for long."""
    monkeypatch.setattr(channels, "TIMEOUT_S", 1.5)
    monkeypatch.setattr(webhook, "_TRY_S", 0.3)
    monkeypatch.setattr(webhook, "_PAUSE_S", 0.05)


def send(folder, **fields):
    """What became of the message, by channel."""
    ways = channels_of(NotifyConfig(**fields), ExperimentFolder(folder))
    return {each.channel: each.error for each in send_all([MESSAGE], ways)}


@pytest.fixture
def secret_file(tmp_path):
    """Writes a URL as its owner would."""

    def write(url, mode=0o600):
        path = tmp_path / "webhook"
        path.write_text(f"{url}\n")
        path.chmod(mode)
        return f"file:{path}"

    return write


def test_a_command_gets_the_message(tmp_path):
    """As JSON on its standard input, and in variables; quotes and newlines are no matter."""
    command = 'cat > got.json; printf "%s|" "$LAUNCH_NOTIFY_TITLE" "$LAUNCH_NOTIFY_RUNS" > got'

    assert send(tmp_path, command=command) == {"command": ""}

    assert (tmp_path / "got").read_text() == "fib25: 2 runs failed (crashed)|a b|"
    assert json.loads((tmp_path / "got.json").read_text()) == {
        "event": "failed",
        "experiment": "fib25",
        "folder": "/data/fib25",
        "cause": "crashed",
        "runs": ["a", "b"],
        "counts": {},
        "title": "fib25: 2 runs failed (crashed)",
        "text": "a, b\na: loss < 0 & more",
        "level": "failure",
    }


def test_a_command_is_told_of_thousands_of_runs(tmp_path):
    """A variable of Linux holds 128 KiB: it names a hundred of them, and the JSON all."""
    names = tuple(f"{number:04}-{'x' * 195}" for number in range(2000))
    command = 'cat > got.json; echo "$LAUNCH_NOTIFY_RUNS" > got'
    ways = channels_of(NotifyConfig(command=command), ExperimentFolder(tmp_path))

    (outcome,) = send_all([attrs.evolve(MESSAGE, runs=names)], ways)

    assert outcome.error == ""
    assert (tmp_path / "got").read_text().split() == list(names[:100])
    assert json.loads((tmp_path / "got.json").read_text())["runs"] == list(names)


def test_a_command_that_fails(tmp_path):
    """Its exit code and its last line, without what a URL in it may hold."""
    script = f"echo first; echo https://hooks.slack.com/{TOKEN} refused >&2; exit 3"
    (tmp_path / "failing.sh").write_text(script)

    (error,) = send(tmp_path, command="sh failing.sh").values()

    assert error == "exit code 3: https://hooks.slack.com/… refused"


def test_a_command_that_reads_nothing(tmp_path):
    """It need not read what it is given."""
    assert send(tmp_path, command="exec < /dev/null") == {"command": ""}


def test_a_command_that_hangs(tmp_path, soon):
    """It is killed, with what it has started."""
    error = send(tmp_path, command="sleep 1000 & echo $! > pid; wait")["command"]

    assert error == "killed, since it took more than 1.5 s" or error.startswith("no answer")
    pid = int((tmp_path / "pid").read_text())
    while is_running(pid):
        pass


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (
            "slack",
            {"text": "*fib25: 2 runs failed (crashed)*\na, b\na: loss &lt; 0 &amp; more"},
        ),
        (
            "apprise",
            {
                "title": "fib25: 2 runs failed (crashed)",
                "body": "a, b\na: loss < 0 & more",
                "type": "failure",
            },
        ),
    ],
)
def test_the_forms_of_webhooks(tmp_path, server, form, body):
    """What Slack and an Apprise server take."""
    assert send(tmp_path, url=f"{server.url}/hook", form=form) == {f"webhook ({form})": ""}

    assert server.requests == ["/hook"]
    assert server.posts == [body]


def test_a_webhook_gets_all_fields(tmp_path, server):
    """In our own form."""
    send(tmp_path, url=f"{server.url}/hook")

    assert server.posts == [MESSAGE.as_json | {"runs": ["a", "b"]}]


def test_a_secret_url_from_a_file_or_a_variable(tmp_path, server, secret_file, monkeypatch):
    """They are looked at when a message goes out."""
    url = f"{server.url}/{TOKEN}"
    monkeypatch.setenv("OUR_WEBHOOK", url)

    assert send(tmp_path, url_from=secret_file(url)) == {"webhook (json)": ""}
    assert send(tmp_path, url_from="env:OUR_WEBHOOK") == {"webhook (json)": ""}

    assert server.requests == [f"/{TOKEN}"] * 2


def test_a_secret_that_others_may_read_is_not_used(tmp_path, server, secret_file):
    """The answer says how to make it one again."""
    error = send(tmp_path, url_from=secret_file(f"{server.url}/{TOKEN}", 0o644))["webhook (json)"]

    assert "may be read or written by others (mode 0644)" in error
    assert error.endswith(f"chmod 600 {tmp_path}/webhook")
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty; write the URL"),
        (f"ftp://a.org/{TOKEN}", "does not hold a URL"),
        (f"http://a.org/{TOKEN} {TOKEN}", "does not hold a URL"),
        (f"http://[a/{TOKEN}", "failed with ValueError"),
        (f"http://a.org:port/{TOKEN}", "cannot be reached: InvalidURL"),
        (f"http://me:{TOKEN}@127.0.0.1:9/", "127.0.0.1:9 cannot be reached: "),
    ],
)
def test_what_is_no_url(tmp_path, secret_file, content, problem):
    """It is not shown: it may be half of one."""
    error = send(tmp_path, url_from=secret_file(content))["webhook (json)"]

    assert problem in error
    assert TOKEN not in error


def test_a_secret_that_is_missing(tmp_path, monkeypatch):
    """The answer names the file or the variable, and the node for the latter."""
    monkeypatch.delenv("OUR_WEBHOOK", raising=False)

    (error,) = send(tmp_path, url_from="file:/none/such").values()
    assert error == "/none/such cannot be read: No such file or directory"
    (error,) = send(tmp_path, url_from="env:OUR_WEBHOOK").values()
    assert error.startswith(f"the variable OUR_WEBHOOK is not set on {socket.gethostname()}")


@pytest.mark.parametrize(
    ("status", "problem", "tries"),
    [
        (403, "answered 403 Forbidden", 1),
        (404, "answered 404 Not Found", 1),
        (302, "answered 302 Found", 1),
        (429, "answered 429 Too Many Requests", 2),
        (503, "answered 503 Service Unavailable", 2),
    ],
)
def test_a_server_that_refuses(tmp_path, server, secret_file, soon, status, problem, tries):
    """What may pass is tried once more; a redirection is not followed."""
    server.fault = lambda path, number: status

    error = send(tmp_path, url_from=secret_file(f"{server.url}/{TOKEN}"))["webhook (json)"]

    assert error == f"{server.url.removeprefix('http://')} {problem}"
    assert server.requests == [f"/{TOKEN}"] * tries


def test_a_server_that_is_busy_for_a_moment(tmp_path, server, soon):
    """The second try arrives."""
    server.fault = lambda path, number: 503 if number == 1 else None

    assert send(tmp_path, url=f"{server.url}/hook") == {"webhook (json)": ""}
    assert len(server.posts) == 1


def test_a_server_that_hangs_delays_no_other_channel(tmp_path, server, soon):
    """And is given up."""
    server.fault = lambda path, number: "stall"

    outcome = send(tmp_path, url=f"{server.url}/hook", command="touch told")

    assert outcome["command"] == ""
    assert outcome["webhook (json)"].endswith(("cannot be reached: TimeoutError", "1.5 s"))
    assert (tmp_path / "told").exists()


def test_a_server_that_is_not_there(tmp_path, soon):
    """A closed port, and a name that nobody knows."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (error,) = send(tmp_path, url=f"http://127.0.0.1:{taken.getsockname()[1]}/").values()
    assert "cannot be reached: Connection refused" in error

    (error,) = send(tmp_path, url="http://none.such.invalid/").values()
    assert error.startswith(("none.such.invalid cannot be reached: ", "no answer within"))


def test_runs_that_wandb_does_not_show(tmp_path):
    """Nothing is started for them."""
    (error,) = send(tmp_path, wandb=True).values()

    assert error == "no run on W&B: not submitted, or wandb.mode is not online"

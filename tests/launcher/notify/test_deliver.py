"""What is told of runs, how often, and when."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from launcher import file_lock
from launcher.experiment.notify_config import NotifyConfig, write_notify
from launcher.notify import deliver as deliver_module
from launcher.notify.deliver import LATER, deliver, main
from launcher.notify.notices import AGAIN_S, GROUP_S, read_notices
from tests.launcher.notify.experiment import TestedExperiment
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import read_state, write_state

ONCE = RetriesConfig(crashed=0, hang=0)


@pytest.fixture
def make(tmp_path):
    """An experiment of runs with these names."""
    return lambda *names, **fields: TestedExperiment(tmp_path, names, **fields)


@pytest.fixture
def clock(monkeypatch):
    """Notices happen at the time of the clock's only entry."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("ends", "titles"),
    [
        (["finished"], ["run a finished"]),
        (["preempted", "preempted"], []),
        (["time_limit"], []),
        (["cancelled"], []),
        (["node_failure"], []),
        (["crashed"], []),
        (["crashed"] * 3, ["run a was given up (crashed)"]),
        (["hang"], ["run a hung, and is tried again"]),
        (["hang"] * 3, ["run a hung, and is tried again"]),
        (["hang"] * 4, ["run a hung, and is tried again", "run a was given up (hang)"]),
        (["non_finite"], ["run a failed (non_finite)"]),
    ],
)
def test_what_is_told(make, ends, titles):
    """A run that is requeued is no matter, unless it hung or met a number that is not finite."""
    experiment = make("a", "b")

    for cause in ends:
        experiment.end("a", cause)
        deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == titles


def test_a_number_that_is_not_finite_in_a_run_that_goes_on(make):
    """It is told although the run goes on."""
    experiment = make("a", "b")
    experiment.end("a", "non_finite", "loss is nan at iteration 7", RetriesConfig(non_finite=1))

    deliver(experiment.folder, ["a"], is_last=True)

    (message,) = experiment.messages
    assert message["title"] == ("fib25: run a met a number that is not finite, and is tried again")
    assert message["text"].splitlines()[0] == "loss is nan at iteration 7"


def test_only_what_was_asked_for_is_told(make):
    """An end is told as the weightiest event of those."""
    experiment = make("a", "b", events=("hang",))
    experiment.end("a", "finished")
    experiment.end("b", "hang", retries=ONCE)

    deliver(experiment.folder, ["a", "b"], is_last=True)

    assert experiment.titles == ["run b failed"]
    assert experiment.messages[0]["event"] == "hang"


def test_nothing_is_told_twice(make):
    """However often a run is looked at, and by whom."""
    experiment = make("a")
    experiment.end("a", "crashed", "ValueError: no", ONCE)

    for _ in range(3):
        deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == ["run a failed (crashed)", "its run is over: 1 failed"]


def test_a_hundred_failures_are_one_message(make, clock):
    """Those of one cause, while their supervisor is there; another cause is another message."""
    names = [f"seed-{number:02}" for number in range(100)]
    experiment = make(*names, "other", "runs on")
    for name in names:
        experiment.end(name, "crashed", "ValueError: no", ONCE)
        assert deliver(experiment.folder, [name], is_last=False) == GROUP_S
    experiment.end("other", "out_of_memory", "killed", RetriesConfig(out_of_memory=0))
    assert experiment.messages == []

    clock[0] += GROUP_S
    deliver(experiment.folder, ["other"], is_last=True)

    assert experiment.titles == [
        "100 runs failed (crashed)",
        "run other failed (out_of_memory)",
    ]
    text = experiment.messages[0]["text"].splitlines()
    assert text[0].startswith("seed-00, seed-01, ")
    assert text[0].endswith("seed-09 and 90 more")
    assert text[1] == "seed-00: ValueError: no"
    assert experiment.messages[0]["runs"] == names


def test_a_hundred_jobs_that_fail_are_two_messages(make, clock):
    """Each with a supervisor of its own: the first is told at once, the others with the end."""
    names = [f"seed-{number:02}" for number in range(100)]
    experiment = make(*names)
    for name in names:
        experiment.end(name, "crashed", "ValueError: no", ONCE)
        deliver(experiment.folder, [name], is_last=True)
        clock[0] += 1

    assert experiment.titles == [
        "run seed-00 failed (crashed)",
        "all 100 runs are over: 100 failed",
    ]
    assert experiment.messages[1]["counts"] == {"failed": 100}
    assert "failed (crashed): seed-00, " in experiment.messages[1]["text"]
    assert read_notices(experiment.folder).waiting == {}


def test_what_has_waited_is_told_by_whoever_is_there(make, clock):
    """Once the cause was quiet for long enough."""
    experiment = make("a", "b", "c", "runs on")
    for name in ("a", "b", "c"):
        experiment.end(name, "crashed", "ValueError: no", ONCE)
        deliver(experiment.folder, [name], is_last=True)
    assert experiment.titles == ["run a failed (crashed)"]

    clock[0] += AGAIN_S
    deliver(experiment.folder, [], is_last=False)

    assert experiment.titles[1:] == ["2 runs failed (crashed)"]


def test_the_end_of_the_experiment_is_told_once(make):
    """By whoever records the last end, of however many that look at once."""
    names = [f"seed-{number}" for number in range(8)]
    experiment = make(*names, events=("done",))
    for name in names:
        experiment.end(name, "finished")
    deliverers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launcher.notify.deliver",
                "--last",
                experiment.folder.path,
                name,
            ]
        )
        for name in names
    ]

    assert [each.wait() for each in deliverers] == [0] * 8
    assert experiment.titles == ["all 8 runs are over: 8 finished"]
    assert experiment.messages[0]["level"] == "success"


def test_an_end_after_a_new_submission_is_told_again(make):
    """Failures of the runs that were submitted, too."""
    experiment = make("a", "b")
    experiment.end("a", "finished")
    experiment.end("b", "crashed", "no", ONCE)
    deliver(experiment.folder, ["a", "b"], is_last=True)

    experiment.submit("b")
    deliver(experiment.folder, ["a", "b"], is_last=True)
    assert len(experiment.messages) == 3
    experiment.end("b", "hang", "still", ONCE)
    deliver(experiment.folder, ["b"], is_last=True)

    assert experiment.titles == [
        "run a finished",
        "run b failed (crashed)",
        "all 2 runs are over: 1 failed, 1 finished",
        "run b failed (hang)",
        "all 2 runs are over: 1 failed, 1 finished",
    ]


def test_an_experiment_is_not_done_before_its_last_attempt_is_counted(make):
    """A trainer records its end first, and its supervisor may try again."""
    experiment = make("a", "b")
    experiment.end("a", "finished")
    write_state(experiment.run("b"), attrs.evolve(read_state(experiment.run("b")), status="failed"))
    log = experiment.run("b").log(0)
    log.parent.mkdir()
    log.touch()

    deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == ["run a finished"]


def test_a_cancelled_experiment_is_not_told(make):
    """Whoever has cancelled it knows; but the end of one that trained is told."""
    experiment = make("a", "b")
    experiment.end("a", "cancelled")
    experiment.end("b", "cancelled")
    deliver(experiment.folder, ["a", "b"], is_last=True)
    assert experiment.titles == []

    experiment.submit("a")
    experiment.end("a", "finished")
    deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == ["run a finished", "all 2 runs are over: 1 cancelled, 1 finished"]


def test_a_damaged_run_is_over_and_keeps_no_other_from_being_told(make):
    """Nothing starts it."""
    experiment = make("a", "b")
    experiment.run("b").state.write_text("{")
    experiment.end("a", "finished")

    deliver(experiment.folder, ["a", "b"], is_last=True)

    assert experiment.titles[-1] == "all 2 runs are over: 1 finished, 1 unreadable"


def test_a_run_whose_folder_was_removed_keeps_no_other_from_being_told(make):
    """A user has cleaned up while the job goes on."""
    experiment = make("a", "b")
    shutil.rmtree(experiment.run("b").path)
    experiment.end("a", "crashed", "no", ONCE)

    deliver(experiment.folder, ["a", "b"], is_last=True)

    assert experiment.titles[0] == "run a failed (crashed)"


def test_what_waited_when_it_was_submitted_again_is_not_told(make, clock):
    """Those runs are queued again."""
    experiment = make("a", "b")
    experiment.end("a", "crashed", "no", ONCE)
    deliver(experiment.folder, ["a"], is_last=False)  # it waits for company

    experiment.submit("a")
    deliver(experiment.folder, ["a", "b"], is_last=True)

    assert experiment.titles == []


def test_a_run_that_could_not_be_requeued_is_told(make):
    """Nothing will start it, although it waits."""
    experiment = make("a", "b")
    state = read_state(experiment.run("a"))
    reason = "its job could not be requeued: slurmctld is away; submit again to resume"
    write_state(experiment.run("a"), attrs.evolve(state, status="waiting", reason=reason))

    deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == ["run a was given up"]


def test_who_could_not_be_told_is_known(make, capsys):
    """A sentence for the log of the supervisor, and for `launch explain`, until it works again."""
    experiment = make("a", "b", command="echo no mail here; exit 1", events=("failed", "hang"))
    experiment.end("a", "hang")

    main(["--last", str(experiment.folder.path), "a"])

    sentence = "command: exit code 1: no mail here"
    assert capsys.readouterr().err == (
        f"'fib25: run a hung, and is tried again' was not told: {sentence}\n"
    )
    notices = read_notices(experiment.folder)
    assert notices.untold("a", 0) == [f"fib25: run a hung, and is tried again: {sentence}"]
    assert notices.untold("b", 0) == []

    write_notify(experiment.folder, NotifyConfig(command="true"))
    experiment.end("a", "crashed", "", ONCE)
    main(["--last", str(experiment.folder.path), "a"])
    assert read_notices(experiment.folder).untold("a", 0) == []


def test_a_sender_that_was_killed_is_known(make, monkeypatch, clock):
    """Its message is not sent again: it may have arrived."""
    experiment = make("a", "b")
    experiment.end("a", "hang")
    monkeypatch.setattr(deliver_module, "send_all", lambda *_: [])
    deliver(experiment.folder, ["a"], is_last=True)
    deliver(experiment.folder, ["a"], is_last=True)

    notices = read_notices(experiment.folder)
    assert len(notices.messages) == 1
    assert notices.untold("a", clock[0]) == []
    (sentence,) = notices.untold("a", clock[0] + 61)
    assert sentence.endswith("what sent it was ended before it had an answer")


def test_what_cannot_be_decided_now_is_left_for_later(make, monkeypatch, capsys):
    """Somebody holds the lock, or a state cannot be read."""
    monkeypatch.setattr(deliver_module, "_LOCK_TIMEOUT_S", 0.1)
    experiment = make("a")
    experiment.end("a", "finished")

    with file_lock.hold(experiment.folder.notices_lock):
        assert main([str(experiment.folder.path), "a"]) == LATER
    assert "is told later" in capsys.readouterr().err
    assert main(["--last", str(experiment.folder.path), "a"]) == 0

    assert json.loads(capsys.readouterr().out) == {"again_s": None}
    assert experiment.titles == ["run a finished", "its run is over: 1 finished"]


def test_half_a_line_is_no_matter(make):
    """A full disk or a kill may leave one; the next line is a new one."""
    experiment = make("a", "b")
    with experiment.folder.notices.open("ab") as file:
        file.write(b'{"run": "b", "sta')
    experiment.end("a", "finished")

    deliver(experiment.folder, ["a"], is_last=True)
    deliver(experiment.folder, ["a"], is_last=True)

    assert experiment.titles == ["run a finished"]


def test_a_secret_is_in_no_file(make, tmp_path, monkeypatch, capsys):
    """Whether it works or not: neither below the experiment nor in what is printed."""
    token = "T0AB12CD3abcDEF123ghiJKL456"
    monkeypatch.setenv("OUR_WEBHOOK", f"http://127.0.0.1:9/{token}")
    experiment = make("a", command=None, url_from="env:OUR_WEBHOOK", form="slack")
    experiment.end("a", "finished")

    main(["--last", str(experiment.folder.path), "a"])

    printed = "".join(capsys.readouterr())
    assert "127.0.0.1:9 cannot be reached: Connection refused" in printed
    assert token not in printed
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not any(token.encode() in path.read_bytes() for path in files)

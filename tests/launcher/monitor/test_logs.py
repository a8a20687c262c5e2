"""What runs have printed."""

import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.logs import RunLog, follow
from scripts.workloads.checkout import LAUNCH
from tests.fakes.fake_slurm import job_printed, submitted
from trainers.run.run_state import RunState, write_state

LONG = "num_iterations=1000000"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run under ./experiments with two attempts of two ranks."""
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, "one", "a")
    for attempt in (0, 1):
        for rank in (0, 1):
            run.log(attempt, rank).write_text(f"attempt {attempt}, rank {rank}: größer\n")
    return run


def make_run(tmp_path, experiment, name):
    run = ExperimentFolder(tmp_path / "experiments" / experiment).run(name)
    run.logs.mkdir(parents=True)
    write_state(run, RunState(status="finished"))
    return run


@pytest.fixture
def launch(capsys):
    """The exit code, the output and the errors of a command."""
    from launcher import cli

    def launch(*arguments):
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return launch


@pytest.mark.parametrize(
    ("arguments", "name", "text"),
    [
        ([], "attempt-001.rank-0", "attempt 1, rank 0: größer\n"),
        (["--rank=1"], "attempt-001.rank-1", "attempt 1, rank 1: größer\n"),
        (["--attempt=0"], "attempt-000.rank-0", "attempt 0, rank 0: größer\n"),
    ],
)
def test_a_log_is_printed_as_it_is(run, launch, arguments, name, text):
    """The newest one of the first rank, unless another is asked for; its path is told apart."""
    code, out, err = launch("logs", str(run.path), *arguments)

    assert (code, out) == (0, text)
    assert err == f"==> experiments/one/runs/a/logs/{name}.log <==\n"


@pytest.mark.parametrize(
    "name", ["a", "one/a", "one", "o*/a", "experiments/one/runs/a", "experiments/one"]
)
def test_a_run_is_found_by_name_or_folder(run, launch, name):
    """Below ./experiments, if the name says which; a folder of that name may hold anything else."""
    Path("a").mkdir()
    assert launch("logs", name)[1] == "attempt 1, rank 0: größer\n"


def test_a_name_of_several_runs_is_refused(run, launch, tmp_path):
    """With the names that would do."""
    make_run(tmp_path, "two", "a")

    assert launch("logs", "a") == (
        2,
        "",
        "'a' stands for 2 runs; give one of: one/a, two/a\n",
    )
    assert launch("logs", "two/a")[2].startswith("a has no logs, since no attempt has begun; see")


def test_a_job_that_died_early_is_all_there_is(tmp_path, monkeypatch, launch):
    """Its output is shown while no attempt has one; later it is shown on request."""
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentFolder(tmp_path / "experiments" / "one")
    pack, run = submitted(experiment, "pack-0001", "a"), experiment.run("a")
    said = "/opt/python: No such file or directory"
    path = job_printed(pack, said)

    assert launch("logs", "a") == (
        0,
        f"{said}\n",
        "==> experiments/one/submitit/12_3_0_log.out <==\n",
    )
    shown = json.loads(launch("logs", "a", "--json")[1])
    assert (shown["attempt"], shown["rank"], shown["logs"]) == (None, None, [])
    assert (shown["path"], shown["text"]) == (str(path), f"{said}\n")
    assert launch("logs", "a", "--attempt=0")[0] == 2
    run.logs.mkdir()
    run.log(0).write_text("hello\n")
    assert launch("logs", "a")[1] == "hello\n"
    assert launch("logs", "a", "--job")[1] == f"{said}\n"


def test_a_local_job_has_an_output_too(tmp_path, launch):
    """The newest start of it, or that of the process that was to start it."""
    experiment = ExperimentFolder(tmp_path / "one")
    pack = submitted(experiment, "pack-0001", "a", job_id=None)
    run = str(experiment.run("a").path)
    code, _, err = launch("logs", run, "--job")
    assert (code, err[:46]) == (2, "a has no job that has printed anything; see `l")

    pack.start_log.write_text("no fork\n")
    assert launch("logs", run)[1] == "no fork\n"
    pack.submitit.mkdir()
    for number, (pid, text) in enumerate([("7", "old\n"), ("5", "new\n")]):
        path = pack.submitit / f"{pid}_0_log.out"
        path.write_text(text)
        os.utime(path, (number, number))
    assert launch("logs", run)[1] == "new\n"


def test_an_outage_while_a_log_is_followed(run, monkeypatch):
    """It is waited out, and nothing is lost or shown twice."""
    away = [OSError(errno.ESTALE, "Stale file handle")]
    open_file = Path.open

    def open_unless_away(path, *arguments, **options):
        if path.suffix == ".log" and away:
            raise away.pop()
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_unless_away)

    parts = follow(run, attempt=1, rank=0, is_over=lambda: True)

    assert list(parts)[1:] == ["attempt 1, rank 0: größer\n"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--attempt=2"], "a has no attempt 2; available: 0, 1\n"),
        (["a", "--rank=2"], "attempt 1 of a has no rank 2; available: 0, 1\n"),
        (
            ["b"],
            "no run or experiment 'b' in experiments; available: one, a. Or give a folder.\n",
        ),
        (["experiments"], "'experiments' stands for 2 runs; give one of: one/a, two/c\n"),
    ],
)
def test_what_is_not_there(run, launch, tmp_path, arguments, message):
    """Exit code 2, and what there is."""
    if arguments == ["experiments"]:
        make_run(tmp_path, "two", "c")

    assert launch("logs", *arguments) == (2, "", message)


def test_many_attempts_are_told_in_short(run, launch):
    """As a range."""
    for attempt in range(50):
        run.log(attempt).touch()

    assert launch("logs", "a", "--attempt=99")[2] == "a has no attempt 99; available: 0 to 49\n"


def test_a_log_as_json(run, launch):
    """One object, with the paths of all other logs."""
    code, out, err = launch("logs", "a", "--json")

    data = json.loads(out)
    assert (code, err) == (0, "")
    assert (data["attempt"], data["rank"], data["path"]) == (1, 0, str(run.log(1)))
    assert data["text"] == "attempt 1, rank 0: größer\n"
    assert [(each["attempt"], each["rank"]) for each in data["logs"]] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]


def test_following_and_json_exclude_each_other(run, capsys):
    """A log that goes on is no JSON object."""
    from launcher import cli

    with pytest.raises(SystemExit) as caught:
        cli.main(["logs", "a", "-f", "--json"])

    assert caught.value.code == 2


def test_following_a_run_that_has_ended(run, launch):
    """Its newest log, and the end; with --attempt all from that one on."""
    assert launch("logs", "a", "-f")[1] == "attempt 1, rank 0: größer\n"
    assert launch("logs", "a", "-f", "--attempt=0")[1].splitlines() == [
        "attempt 0, rank 0: größer",
        "attempt 1, rank 0: größer",
    ]
    assert launch("logs", "a", "-f", "--attempt=5")[0] == 2


def test_following_goes_on_with_the_next_attempt(run):
    """What comes to a log is shown as it comes, letters that are torn too; then the next log."""
    log = run.log(1)
    log.write_bytes(b"gr\xc3")
    parts = follow(run, attempt=None, rank=0, is_over=lambda: run.log(3).exists(), poll_s=0)

    assert next(parts) == RunLog(path=log, attempt=1, rank=0)
    assert next(parts) == "gr"
    with log.open("ab") as file:
        file.write(b"\xb6\n")
    run.log(2).write_text("two\n")
    run.log(3).write_text("three\n")

    assert list(parts) == [
        "ö\n",
        RunLog(path=run.log(2), attempt=2, rank=0),
        "two\n",
        RunLog(path=run.log(3), attempt=3, rank=0),
        "three\n",
    ]


@pytest.mark.slow
def test_following_a_run_over_its_attempts(workplace):
    """From before the first attempt, over a crash, to the end of the run; then the command ends."""
    workplace.submit(LONG, "retries.crashed=1")
    command = [*LAUNCH, "logs", "dummies", "-f"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    workplace.wait_for_iteration()
    os.kill(workplace.trainer_pid(), signal.SIGKILL)
    while not workplace.run().log(1).exists():
        time.sleep(0.05)
    workplace.wait_for_iteration(iteration=workplace.state().iteration + 1)
    workplace.launch("cancel", "experiments")

    out, err = following.communicate(timeout=60)

    assert following.returncode == 0
    assert err.splitlines() == [
        "==> experiments/dummies/runs/dummies/logs/attempt-000.rank-0.log <==",
        "==> experiments/dummies/runs/dummies/logs/attempt-001.rank-0.log <==",
    ]
    assert "stopped by SIGTERM; start it again to resume" in out

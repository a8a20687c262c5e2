"""What lies in a run's folder of checkpoints, and whether each of them is whole."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import torch

from launcher import cli, exit_codes
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.checkpoint_report import ReadingProgress, show_bytes
from launcher.monitor.checkpoints import find_checkpoints
from scripts.workloads.checkout import LAUNCH
from scripts.workloads.fault_windows import FaultWindows
from tests.launcher.workplace import EXPERIMENT
from trainers.checkpoints import CheckpointStore, Retention
from trainers.config.config_io import read_run_config, write_run_config
from trainers.run.lease import Lease
from trainers.run.run_state import EventKind, RunState, append_event, write_state

DATA = "rank-00000.safetensors"
COMES_AND_GOES = """
import os, sys
while True:
    for name in sys.argv[1:]:
        os.mkdir(name)
    for name in sys.argv[1:]:
        os.rmdir(name)
"""


@pytest.fixture
def run(tmp_path):
    """A run without checkpoints; its config cannot be read."""
    run = ExperimentFolder(tmp_path / "one").run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState())
    return run


def save(run, *iterations, fingerprint="0123456789abcdef", fingerprint_fields=None):
    """Checkpoints of some iterations; the loss falls."""
    store = CheckpointStore(
        run.checkpoints,
        fingerprint=fingerprint,
        fingerprint_fields=fingerprint_fields or {},
        retention=Retention(keep_last=100),
    )
    for iteration in iterations:
        state = {"model": {"weight": torch.full((1000,), float(iteration))}}
        store.save(iteration, state, metrics={"loss": 1 / iteration})


@pytest.fixture
def look(run, capsys):
    """The exit code, the lines on stdout, and the report as data."""

    def look(*options):
        code = cli.main(["checkpoints", str(run.path), *options])
        lines = capsys.readouterr().out.splitlines()
        assert cli.main(["checkpoints", str(run.path), "--json", *options]) == code
        return code, lines, json.loads(capsys.readouterr().out)

    return look


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(run, tmp_path):
    """The others are looked at; the exit code is that of what is away."""
    save(run, 10, 20)
    windows = FaultWindows(tmp_path)

    with windows.open(run.checkpoints / "iteration-000000010" / DATA, errno.ESTALE):
        done = subprocess.run(
            [*LAUNCH, "checkpoints", run.path, "--verify"],
            env={**os.environ, **windows.environment},
            capture_output=True,
            text=True,
        )

    assert (done.returncode, done.stderr) == (exit_codes.UNAVAILABLE, "")
    _, first, second, _ = done.stdout.splitlines()
    assert "unreadable: " in first and "Stale file handle: it may pass" in first
    assert second.endswith("  valid")


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def states(report):
    return {each["name"]: each["state"] for each in report["checkpoints"]}


def test_whole_checkpoints(run, look):
    """Iteration, size, age, loss, and that they are valid."""
    save(run, 10, 200)
    written = time.time() - 3725
    for name in (DATA, "manifest.json"):
        os.utime(run.checkpoints / "iteration-000000010" / name, (written, written))

    for options in ((), ("--verify",)):
        code, lines, report = look(*options)

        assert code == 0
        assert lines[0].split() == ["ITERATION", "SIZE", "AGE", "LOSS", "STATE"]
        assert re.fullmatch(r"10         +[\d.]+ kB  01:02:0\d  0\.1    valid", lines[1])
        assert re.fullmatch(r"200        +[\d.]+ kB  00:00:0\d  0\.005  valid", lines[2])
        assert "newest valid one: 200" in lines[3]
        assert len(lines) == 4
        assert (report["name"], report["newest_valid"]) == ("a", 200)
        assert report["verified"] == bool(options)
        first = report["checkpoints"][0]
        size = sum(each.stat().st_size for each in (run.checkpoints / first["name"]).iterdir())
        assert first == {
            "name": "iteration-000000010",
            "state": "valid",
            "reason": "",
            "iteration": 10,
            "num_bytes": size,
            "written": pytest.approx(written),
            "metrics": {"loss": 0.1},
        }


def test_a_run_without_checkpoints(look):
    """That is no fault."""
    code, lines, report = look("--verify")

    assert (code, lines) == (0, ["no checkpoints yet"])
    assert (report["checkpoints"], report["newest_valid"]) == ([], None)


def test_a_changed_byte_is_found_by_reading_all(run, look):
    """Without --verify, no data are read."""
    save(run, 10, 20)
    flip(run.checkpoints / "iteration-000000020" / DATA, -1)

    code, lines, _ = look()
    assert (code, "--verify reads every byte" in lines[-1]) == (0, True)

    code, lines, report = look("--verify")
    assert code == 7
    assert f"not valid: {DATA} has changed between its bytes 0 and " in lines[2]
    assert report["newest_valid"] == 10


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda path: flip(path / "manifest.json", 30),
            "manifest.json does not match its own checksum",
        ),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: No such file"),
        (lambda path: (path / DATA).unlink(), f"{DATA}: No such file or directory"),
        (lambda path: os.truncate(path / DATA, 5), f"{DATA} has 5 bytes; 8,"),
        (
            lambda path: path.rename(path.with_name("iteration-000000021")),
            "manifest.json is of iteration 20",
        ),
    ],
)
def test_other_damage_is_found_at_once(run, look, damage, reason):
    """In a manifest, and in the presence and the lengths of files."""
    save(run, 10, 20)
    damage(run.checkpoints / "iteration-000000020")

    code, _, report = look()

    last = report["checkpoints"][-1]
    assert (code, last["state"]) == (7, "not valid")
    assert last["reason"].startswith(reason)
    assert report["newest_valid"] == 10


def test_a_checkpoint_of_another_run(run, look, tmp_path):
    """It says what differs, if the run's config can be read."""
    path = tmp_path / "config.yaml"
    path.write_text(EXPERIMENT.replace("kind: dummy", "kind: dummy, name: a"))
    config = read_run_config(path)
    write_run_config(run.config, config)
    save(run, 10, fingerprint=config.fingerprint, fingerprint_fields=config.fingerprint_fields)
    save(run, 20, fingerprint="other", fingerprint_fields={**config.fingerprint_fields, "seed": 7})

    code, _, report = look()

    first, second = report["checkpoints"]
    assert (code, first["state"], second["state"]) == (7, "valid", "not valid")
    assert second["reason"].startswith("it belongs to another run: seed: was 7, is 0")


def test_the_metric_that_the_best_is_kept_by(run, look, tmp_path):
    """It stands in place of the loss; programs are told all metrics."""
    path = tmp_path / "config.yaml"
    best = "keep_best: {metric: accuracy, mode: max}, every_iterations: 1000"
    text = EXPERIMENT.replace("kind: dummy", "kind: dummy, name: a")
    path.write_text(text.replace("checkpoint: {every_iterations: 1000", f"checkpoint: {{{best}"))
    config = read_run_config(path)
    write_run_config(run.config, config)
    store = CheckpointStore(run.checkpoints, fingerprint=config.fingerprint)
    store.save(10, {}, metrics={"loss": 0.25, "accuracy": 0.75})
    store.save(20, {}, metrics={"loss": 0.25})

    _, lines, report = look()

    assert lines[0].split()[3] == "ACCURACY"
    assert lines[1].split()[4:] == ["0.75", "valid"]
    assert lines[2].split()[4:] == ["valid"]
    assert report["checkpoints"][0]["metrics"] == {"loss": 0.25, "accuracy": 0.75}


def test_those_that_were_set_aside(run, look):
    """They are named, with the reason if it was told; the run is none the worse for them."""
    save(run, 10, 20, 30)
    aside = "damaged-iteration-000000020-0"
    (run.checkpoints / "iteration-000000020").rename(run.checkpoints / aside)
    (run.checkpoints / "iteration-000000030").rename(
        run.checkpoints / "damaged-iteration-000000030-1"
    )
    append_event(run, EventKind.CHECKPOINT_DAMAGED, name="x", aside=aside, reason="it has changed")

    code, lines, report = look("--verify")

    assert code == 0
    assert lines[2].startswith("20 ")
    assert lines[2].endswith("set aside: it has changed")
    assert lines[3].endswith("set aside")
    assert (report["newest_valid"], report["checkpoints"][1]["iteration"]) == (10, 20)


def test_what_an_attempt_left_when_it_died(run, look):
    """Nobody is at it any more."""
    save(run, 10)
    written = run.checkpoints / ".tmp-iteration-000000020-0123abcd"
    written.mkdir()
    (written / DATA).write_bytes(b"half")
    deleted = run.checkpoints / ".tmp-iteration-000000005-0123abcd"
    (deleted / "iteration-000000005").mkdir(parents=True)

    code, lines, report = look("--verify")

    assert code == 0
    assert states(report) == {
        deleted.name: "half deleted",
        "iteration-000000010": "valid",
        written.name: "half written",
    }
    assert lines[3].startswith("20         4 B")
    assert lines[3].endswith("half written: by an attempt that has ended; the next one removes it")


def test_what_an_attempt_is_at(run, look):
    """The process is named; what is older than the attempt is not its own."""
    run.checkpoints.mkdir()
    for iteration in (10, 20):
        (run.checkpoints / f".tmp-iteration-0000000{iteration}-0123abcd").mkdir()
    long_ago = time.time() - 1000
    os.utime(run.checkpoints / ".tmp-iteration-000000010-0123abcd", (long_ago, long_ago))

    with Lease.take(run.lease, owner="x", attempt=0):
        code, _, report = look()

    older, newer = report["checkpoints"]
    assert code == 0
    assert older["state"] == "half written"
    assert newer["state"] == "being written"
    assert newer["reason"].startswith(f"by process {os.getpid()} on ")


def test_what_does_not_concern_checkpoints_is_left_out(run, look):
    """Whatever else lies there."""
    save(run, 10)
    (run.checkpoints / "notes.txt").write_text("mine")
    (run.checkpoints / "iteration-7").mkdir()

    _, _, report = look()

    assert list(states(report)) == ["iteration-000000010"]


def test_one_that_is_deleted_meanwhile(run):
    """It has made room for newer ones, and is no fault."""
    save(run, 10, 20)
    read = []

    def delete_the_other(num_bytes, total):
        read.append((num_bytes, total))
        shutil.rmtree(run.checkpoints / "iteration-000000020", ignore_errors=True)

    found = find_checkpoints(run, verify=True, on_read=delete_the_other)

    assert [(each.iteration, each.state) for each in found] == [(10, "valid")]
    assert 0 < read[-1][0] < read[-1][1]


def test_half_written_ones_that_come_and_go(run):
    """One may vanish between any two looks at it."""
    run.checkpoints.mkdir()
    names = {f".tmp-iteration-0000000{number}-0123abcd" for number in range(10, 30)}
    comes_and_goes = subprocess.Popen(
        [sys.executable, "-c", COMES_AND_GOES, *names], cwd=run.checkpoints
    )

    found: list = []
    try:
        while len(found) < 2000 and comes_and_goes.poll() is None:
            found += find_checkpoints(run, verify=False, on_read=lambda *_: None)
    finally:
        comes_and_goes.kill()
        comes_and_goes.wait()

    assert len(found) >= 2000
    assert {each.name for each in found} <= names


@pytest.mark.slow
def test_it_works_while_the_run_is_trained(workplace):
    """Checkpoints come and go; each that is there is valid, or half written."""
    workplace.submit("num_iterations=1000000", "checkpoint.every_iterations=1")
    workplace.wait_for_iteration(iteration=5)

    reports = []
    for _ in range(30):
        assert workplace.launch("checkpoints", "dummies", "--verify", "--json") == 0
        reports.append(json.loads(workplace.out))

    allowed = {"valid", "being written", "being deleted"}
    assert {state for report in reports for state in states(report).values()} <= allowed
    newest = [report["newest_valid"] for report in reports]
    assert newest == sorted(newest)
    assert newest[0] < newest[-1]


def test_it_works_on_a_login_node(run):
    """Without torch and numpy."""
    save(run, 10)
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None, safetensors=None); "
        f"from launcher import cli; sys.exit(cli.main(['checkpoints', {str(run.path)!r}, "
        "'--verify']))"
    )

    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    assert done.returncode == 0
    assert "newest valid one: 10" in done.stdout


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (48_600, "48.6 kB"),
        (999_600, "1 MB"),
        (1_946_000_000, "1.95 GB"),
        (12_300_000_000_000, "12.3 TB"),
        (1_230_000_000_000_000, "1.23e+03 TB"),
    ],
)
def test_sizes(number, text):
    """Three digits are enough."""
    assert show_bytes(number) == text


def test_progress_is_told_now_and_then():
    """Not at all, if there is little to read."""
    now = [0.0]
    said: list = []
    progress = ReadingProgress(said.append, lambda: now[0])

    for second in range(6):
        now[0] = float(second)
        progress(second * 100_000_000, 10**9)

    assert said == ["200 MB of 1 GB read", "400 MB of 1 GB read"]

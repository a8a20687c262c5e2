"""Files, disks and streams that fail under every command: one sentence, and no traceback."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import launcher
from launcher import exit_codes
from scripts.workloads.checkout import LAUNCH
from scripts.workloads.fault_windows import AWAY, FaultWindows
from scripts.workloads.file_calls import WRITING
from tests.launcher.test_python_api import OPTIONS
from trainers.config.config_io import write_run_config
from trainers.run.run_state import EventKind, RunState, append_event, read_state, write_state

DRIVER = """
import contextlib, io, json, sys
from launcher import cli, os_errors

os_errors.PATIENCE_S = 0.2
done = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    done.append([code, out.getvalue(), err.getvalue()])
json.dump(done, sys.stdout)
"""
"""Runs some commands in one process, and prints what each has said, and its exit code."""
PLAIN_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-kill")
"""Before a command: root without the power to use the files and processes of others."""
SUBMIT = ["submit", "dummies.yaml", "--cluster=local", "--allow-invalid"]
FOLDER = "experiments/dummies"
COMMANDS = {
    "submit": SUBMIT,
    "a dry run": [*SUBMIT, "--dry-run"],
    "resubmit": ["resubmit", FOLDER, "--state=failed"],
    "cancel": ["cancel", FOLDER],
    "status": ["status", FOLDER],
    "status of all": ["status", "--json"],
    "logs": ["logs", "dummies"],
    "logs of the job": ["logs", "dummies", "--job"],
    "explain": ["explain", "dummies"],
    "checkpoints": ["checkpoints", "dummies"],
}
TO_WRITE = ("submit", "resubmit", "cancel")


@pytest.fixture
def experiment(workplace):
    """One with a run that waits to be submitted again, and one that has failed."""
    sweep = ["sweep.seed=[1, 2]"]
    dry = attrs.evolve(OPTIONS, dry_run=True)
    planned = [
        *launcher.submit("dummies.yaml", "local", options=dry).runs,
        *launcher.submit("dummies.yaml", "local", sweep, dry).runs[:1],
    ]
    for run, status in zip(planned, ("waiting", "failed"), strict=True):
        run.folder.logs.mkdir(parents=True)
        run.folder.log(0).write_text("hello\n")
        write_run_config(run.folder.config, run.config)
        state = RunState(status=status, iteration=3, identity=run.config.fingerprint)
        write_state(run.folder, attrs.evolve(state, attempts={"crashed": 1}))
        append_event(run.folder, EventKind.SUBMITTED)
    return workplace.experiment


def run_all(names, *, before=(), **environment):
    """The exit code, the output and the errors of each command, by its name."""
    arguments = json.dumps([COMMANDS[name] for name in names])
    done = subprocess.run(
        [*before, sys.executable, "-P", "-c", DRIVER, arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    return dict(zip(names, json.loads(done.stdout), strict=True))


def run_one(*arguments, before=(), **options):
    done = subprocess.run([*before, *LAUNCH, *arguments], stderr=subprocess.PIPE, **options)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("number", "operations", "advice"),
    [
        (errno.EIO, AWAY, "it may pass"),
        (errno.ESTALE, AWAY, "it may pass"),
        (errno.EACCES, AWAY, "ask its owner for access"),
        (errno.ENOTCONN, AWAY, "look whether the file system is mounted"),
    ],
)
def test_what_is_away_is_one_sentence(experiment, tmp_path, number, operations, advice):
    """With the path and the advice, and an exit code of its own, whatever the command."""
    windows = FaultWindows(tmp_path)

    with windows.open(experiment.path, number, operations):
        done = run_all(COMMANDS, **windows.environment)

    for name, (code, _, err) in done.items():
        assert code == exit_codes.UNAVAILABLE, name
        assert "Traceback" not in err
        (line,) = err.splitlines()
        assert str(experiment.path) in line
        assert f"{os.strerror(number)}, while " in line
        assert advice in line


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "your quota is used up"),
        (errno.EROFS, "take a folder that can be written to"),
    ],
)
def test_what_cannot_be_written_stops_only_what_writes(experiment, tmp_path, number, advice):
    """Nothing is changed, and looking goes on."""
    windows = FaultWindows(tmp_path)
    before = [read_state(experiment.run(name)) for name in ("dummies", "seed-1")]

    with windows.open(experiment.path, number, WRITING):
        done = run_all(COMMANDS, **windows.environment)

    for name, (code, out, err) in done.items():
        said = out if name == "cancel" else err  # a row for each run
        if name in TO_WRITE:
            assert code == exit_codes.UNAVAILABLE, name
            assert os.strerror(number) in said and advice in said
        elif name != "logs of the job":  # there is none
            assert (code, err.replace(f"==> {FOLDER}/runs/dummies/logs/", "")[:9]) in (
                (0, ""),
                (0, "attempt-0"),
            )
        assert "Traceback" not in err
    assert [read_state(experiment.run(name)) for name in ("dummies", "seed-1")] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="root is made a user like any other")
def test_a_private_neighbor_is_left_out(experiment):
    """An experiment that others may not read is named; its neighbors are shown."""
    private = experiment.path.with_name("private")
    (private / "runs" / "a").mkdir(parents=True)
    private.chmod(0)

    done = run_all(["status of all", "explain", "logs"], before=PLAIN_USER)

    code, out, err = done["status of all"]
    assert code == 0
    assert [each["name"] for each in json.loads(out)] == ["dummies", "seed-1"]
    assert f"left out: {private}/runs: Permission denied, while looking for runs: " in err
    assert done["explain"][0] == done["logs"][0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root is made a user like any other")
def test_a_private_run_is_a_row(experiment):
    """The others are shown as they are; it cannot be submitted again, nor cancelled."""
    private = experiment.run("seed-1").path
    private.chmod(0)

    done = run_all(["status", "status of all", "cancel"], before=PLAIN_USER)

    code, out, _ = done["status"]
    assert code == 0
    _, first, second, total = out.splitlines()
    assert first.split()[:2] == ["dummies", "waiting"]
    assert second.split()[:2] == ["seed-1", "unreadable"]
    assert "unreadable: /" in second  # the rest of a long path is cut off
    assert total.startswith("2 runs: 1 waiting, 1 unreadable")
    found = {each["name"]: each for each in json.loads(done["status of all"][1])}
    states = {name: each["state"] for name, each in found.items()}
    assert states == {"dummies": "waiting", "seed-1": "unreadable"}
    assert found["seed-1"]["reason"].startswith(f"unreadable: {private}")
    code, out, _ = done["cancel"]
    assert code == exit_codes.UNAVAILABLE
    assert "dummies  cancelled\n" in out
    assert f"seed-1   not cancelled: {private}/cancel: Permission denied, while" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="root is made a user like any other")
def test_a_colleagues_folder_can_be_read(experiment):
    """One of mode 755: looking works as for its owner, and changing is one sentence."""
    for path in [experiment.path, *experiment.path.rglob("*")]:
        os.chown(path, 54321, 54321)

    done = run_all([name for name in COMMANDS if name != "logs of the job"], before=PLAIN_USER)

    for name, (code, out, err) in done.items():
        assert "Traceback" not in err, name
        changes = name in TO_WRITE
        assert code == (exit_codes.UNAVAILABLE if changes else 0), (name, err)
        if changes:
            assert "Permission denied" in (out + err) and "ask its owner for access" in (out + err)
    assert "dummies  not cancelled: " in done["cancel"][1]


def test_a_plain_file_is_no_run_and_no_experiment(experiment):
    """Notes may lie among the runs, among the experiments and among the packs."""
    (experiment.runs / "notes.txt").touch()
    experiment.path.with_name("notes.txt").touch()
    experiment.jobs.mkdir()
    (experiment.jobs / "pack-0000.bak").mkdir()

    done = run_all(["status", "status of all", "a dry run"])

    assert [code for code, _, _ in done.values()] == [0, 0, 0]
    assert "notes" not in "".join(out for _, out, _ in done.values())


def test_a_plain_file_where_a_folder_is_needed(workplace):
    """The submission says which, and starts nothing."""
    workplace.experiment.path.parent.mkdir()
    workplace.experiment.path.write_text("notes")

    assert workplace.submit() == exit_codes.UNAVAILABLE

    assert workplace.err.startswith(f"{workplace.experiment.path}: ")
    assert "move away what is there, or give another path" in workplace.err


@pytest.fixture
def full_disk(tmp_path):
    """A file system without any room left."""
    path = tmp_path / "full"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    with (path / "full").open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096 and file.tell() < 16384:
            pass
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk(workplace, full_disk):
    """A real one: the path is named though the call that failed knows none."""
    assert workplace.submit(f"--root={full_disk}") == exit_codes.UNAVAILABLE

    assert workplace.err.startswith(f"{full_disk}/dummies")
    assert "No space left on device, while submitting the experiment dummies: " in workplace.err


def test_cluster_configs_that_cannot_be_read(workplace, tmp_path):
    """Those of other folders are listed and can be used."""
    mine = tmp_path / "config" / "launch" / "clusters"
    mine.mkdir(parents=True)
    windows = FaultWindows(tmp_path)
    environment = {**os.environ, **windows.environment, "XDG_CONFIG_HOME": str(mine.parents[1])}

    with windows.open(mine, errno.EACCES):
        done = subprocess.run([*LAUNCH, "clusters"], env=environment, capture_output=True)

    assert done.returncode == 0
    assert b"two slots" in done.stdout
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"left out: {mine}: Permission denied: ask its owner for access")


def test_a_full_disk_behind_stdout(workplace):
    """What was to be printed is lost, and that is said."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        for command in ("clusters", "--help"):
            code, err = run_one(command, stdout=full, env=buffered)

            assert (code, err) == (
                exit_codes.UNAVAILABLE,
                "standard output: No space left on device: make room there (`df -h`, and `df -i` "
                "for the number of files), and try again\n",
            )


def test_closed_streams(workplace):
    """A command that may print nothing prints nothing, and not into a file that it opens."""
    closed = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")

    assert run_one("clusters", before=closed) == (0, "")
    assert run_one("status", before=closed) == (exit_codes.UNUSABLE, "")


def test_an_encoding_that_knows_few_letters(workplace):
    """The rest is written out."""
    config = workplace.experiment.path.parents[1] / "cluster_configs" / "local.yaml"
    config.write_text("kind: local\ndescription: größer\n", encoding="utf-8")
    latin = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    done = subprocess.run([*LAUNCH, "clusters"], env=latin, capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfer" in done.stdout


def test_a_working_directory_that_is_gone(workplace, tmp_path):
    """What needs one says so."""
    gone = ("sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh")

    code, err = run_one("status", before=gone)

    assert code == exit_codes.UNAVAILABLE
    assert err.startswith("the working directory no longer exists: change to another one")
    assert run_one("clusters", before=gone, stdout=subprocess.DEVNULL) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user whom nobody knows")
def test_a_user_without_home_and_name(workplace, monkeypatch, slurm):
    """There are no configs and no cache of their own; all else goes on."""
    from launcher.clusters.cluster_search import find_clusters
    from launcher.slurm.queue_cache import queue_snapshot

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)

    assert "local" in [each.name for each in find_clusters()]
    slurm.queue(("12_3", "RUNNING"))
    assert list(queue_snapshot().jobs) == ["12_3"]
    assert "--user=54321" in slurm.calls("squeue")[0]


def test_programs_that_are_not_whole(workplace, tmp_path):
    """A file of the launcher that cannot be found or read is no bug, and is named."""
    code = (
        "import sys; sys.modules['launcher.monitor.status'] = None; "
        "from launcher.cli import main; sys.exit(main(['status']))"
    )

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert done.returncode == exit_codes.UNAVAILABLE
    assert "launcher.monitor.status" in done.stderr and "install it again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_not_a_failed_run(workplace, monkeypatch):
    """It has its traceback, and an exit code that means nothing else."""
    monkeypatch.setattr("launcher.monitor.find_run.find_targets", lambda *_: 1 / 0)

    assert workplace.launch("status") == exit_codes.BUG

    assert "ZeroDivisionError: division by zero" in workplace.err
    assert "this is a bug in launch: please report it" in workplace.err

import pytest

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.experiment_folder import ExperimentFolder
from launcher.status import RunStatus, find_runs, read_statuses
from launcher.tables import status_table, summary
from launcher.true_state import true_state
from trainers.run_lock import run_lock
from trainers.run_state import RunState, write_state


@pytest.fixture
def root(tmp_path):
    """Two experiments, of two runs and one."""
    for experiment, run in (("one", "a"), ("one", "b"), ("two", "a")):
        folder = ExperimentFolder(tmp_path / experiment).run(run)
        folder.path.mkdir(parents=True)
        write_state(folder, RunState(num_iterations=10, pack="pack-0000"))
    (tmp_path / "one" / "runs" / ".unfinished").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


def status_of(folder):
    (status,) = read_statuses([folder])
    return status


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".", ["one/runs/a", "one/runs/b", "two/runs/a"]),
        ("one", ["one/runs/a", "one/runs/b"]),
        ("one/runs/b", ["one/runs/b"]),
    ],
)
def test_runs_are_found_from_every_level(root, path, expected):
    """A root, an experiment or a run will do; what is not a run is passed over."""
    assert [str(run.path.relative_to(root)) for run in find_runs(root / path)] == expected


@pytest.mark.parametrize(
    ("path", "message"), [("notes", "notes holds no runs; give"), ("no", "no is no folder; give")]
)
def test_a_foreign_folder_is_refused(root, path, message):
    """The error says what a folder is needed for."""
    with pytest.raises(LauncherError, match=message):
        find_runs(root / path)


@pytest.mark.parametrize(
    ("recorded", "trained", "supervised", "cancel_requested", "expected"),
    [
        ("planned", False, False, False, "planned"),
        ("submitted", False, True, False, "submitted"),
        ("submitted", False, False, False, "waiting"),
        ("submitted", False, True, True, "cancelled"),
        ("submitted", True, True, False, "running"),
        ("running", True, True, False, "running"),
        ("running", True, False, False, "running"),
        ("running", False, True, False, "running"),
        ("running", False, False, False, "waiting"),
        ("running", True, True, True, "running"),
        ("running", False, False, True, "cancelled"),
        ("waiting", False, False, False, "waiting"),
        ("waiting", True, True, False, "running"),
        ("waiting", False, False, True, "cancelled"),
        ("finished", True, True, True, "finished"),
        ("failed", False, False, True, "failed"),
        ("cancelled", False, False, False, "cancelled"),
    ],
)
def test_the_true_state(recorded, trained, supervised, cancel_requested, expected):
    """Nobody is running whom no process trains, whatever was written last."""
    state, reason = true_state(
        recorded, trained=trained, supervised=supervised, cancel_requested=cancel_requested
    )

    assert state == expected
    assert bool(reason) == (recorded in ("running", "submitted") and expected == "waiting")


def test_a_run_is_running_while_its_lock_is_held(root):
    """A trainer without a supervisor is running; without either, the run waits."""
    run = ExperimentFolder(root / "one").run("a")
    write_state(run, RunState(status="running", iteration=4))

    with run_lock(run):
        assert status_of(run).state == "running"

    status = status_of(run)
    assert (status.state, status.iteration) == ("waiting", 4)
    assert status.reason == "its processes ended without a word; submit again to carry on"


def test_a_run_is_submitted_while_its_supervisor_lives(root):
    """Of the pack that has the run to do, not of any other."""
    experiment = ExperimentFolder(root / "one")
    for pack in ("pack-0000", "pack-0001"):
        experiment.pack(pack).path.mkdir(parents=True)
    write_state(experiment.run("a"), RunState(status="submitted", pack="pack-0000"))
    write_state(experiment.run("b"), RunState(status="submitted", pack="pack-0001"))

    with file_lock.hold(experiment.pack("pack-0001").lease):
        statuses = read_statuses(find_runs(experiment.path))

    assert [(each.state, each.is_supervised) for each in statuses] == [
        ("waiting", False),
        ("submitted", True),
    ]


def test_an_unreadable_state_is_told(root):
    """The other runs are shown, and the damaged one says what to do."""
    (root / "one" / "runs" / "a" / "state.json").write_text("{")

    damaged, other = read_statuses(find_runs(root / "one"))

    assert damaged.state == "failed"
    assert "state.json is not the state of a run" in damaged.reason
    assert "Remove it" in damaged.reason
    assert other.state == "planned"


def make_status(**changes):
    known = {
        "name": "a",
        "experiment": "one",
        "folder": "/one/runs/a",
        "state": "running",
        "iteration": 5,
        "num_iterations": 10,
        "attempts": {},
        "reason": "",
        "wandb_id": "",
        "is_supervised": True,
    }
    return RunStatus(**{**known, **changes})


def test_the_table_of_runs():
    """Columns are as wide as they must be; a long reason is cut, and stays on its line."""
    statuses = [
        make_status(attempts={"preempted": 2, "crashed": 1}),
        make_status(name="long-name", state="failed", num_iterations=0, reason="x\ny " + "z " * 99),
    ]

    header, first, second = status_table(statuses).splitlines()

    assert header == "RUN        STATE    ITERATION  ATTEMPTS                REASON"
    assert first == "a          running  5 of 10    2 preempted, 1 crashed"
    assert second.startswith("long-name  failed   5 of ?                             x y z z z")
    assert second.endswith("z [...]")
    assert summary(statuses) == "2 runs: 1 running, 1 failed; iteration 10 of 10"


def test_runs_of_several_experiments_carry_their_names():
    """Runs of different experiments may have the same name."""
    statuses = [make_status(), make_status(experiment="two")]

    lines = status_table(statuses).splitlines()

    assert [line.split()[0] for line in lines] == ["RUN", "one/a", "two/a"]

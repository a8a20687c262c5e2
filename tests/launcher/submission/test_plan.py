"""What a submission decides and writes, without any job."""

import json
import shutil
from pathlib import Path

import attrs
import pytest
import torch

from launcher import exit_codes
from launcher.experiment.experiment import read_experiment
from launcher.submission.plan import PlannedRun, plan_runs
from launcher.submission.slurm_submission import cancel_held_jobs
from launcher.submission.write_runs import write_source, write_submitted
from tests.fakes.fake_slurm import submitted
from tests.fakes.wandb_server import ENTITY, WandbServer
from trainers.checkpoints import CheckpointStore
from trainers.config.config_io import read_run_config
from trainers.config_diff import Difference, differences
from trainers.errors import ConfigError
from trainers.run.lease import Lease
from trainers.run.run_state import RunState, read_state, write_state

FILE = Path("dummies.yaml")


def plan(workplace, *overrides):
    return plan_runs(workplace.experiment, read_experiment(FILE, overrides).runs)


@pytest.fixture
def written(workplace):
    """The folder of a run that was submitted in a pack which is gone."""
    (run,) = plan(workplace)
    write_submitted(run, pack="pack-0000")
    return run.folder


def test_a_submitted_run_says_all_about_itself(workplace, written):
    """Config, goal, identity, pack, and an id for W&B; nothing else lies about."""
    state = read_state(written)

    config = read_run_config(written.config)
    assert config == read_experiment(FILE).runs[0]
    assert state == RunState(
        status="submitted",
        num_iterations=5,
        identity=config.fingerprint,
        pack="pack-0000",
        wandb_id=state.wandb_id,
    )
    assert len(state.wandb_id) == 8
    assert sorted(path.name for path in workplace.experiment.runs.rglob("*")) == [
        "config.yaml",
        "dummies",
        "events.jsonl",
        "state.json",
    ]


def test_a_run_that_was_started_meanwhile_stays_with_its_job(workplace, written):
    """An earlier job may start it between the plan and its writing: no second job gets it."""
    (run,) = plan(workplace)
    started = attrs.evolve(read_state(written), status="running")
    write_state(written, started)

    write_submitted(run, pack="pack-0001")

    assert read_state(written) == started


def test_a_run_folder_is_whole_or_absent(workplace, monkeypatch):
    """A submission that dies half-way leaves nothing that looks like a run; it can be repeated."""

    def die(*_):
        raise KeyboardInterrupt

    (run,) = plan(workplace)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", die)
        write_submitted(run, pack="pack-0000")
    assert not run.folder.path.exists()

    write_submitted(run, pack="pack-0001")
    assert read_state(run.folder).pack == "pack-0001"
    assert list(workplace.experiment.runs.iterdir()) == [run.folder.path]


def test_a_second_submission_keeps_what_the_run_has(workplace, written):
    """Attempts, iteration and W&B's id stay; the request to cancel goes, and the old reason."""
    before = read_state(written)
    attempts = {"cancelled": 1}
    ended = attrs.evolve(
        before, status="cancelled", iteration=3, attempts=attempts, reason="so it was asked"
    )
    write_state(written, ended)
    written.cancel_request.touch()

    (run,) = plan(workplace, "num_iterations=9")
    write_submitted(run, pack="pack-0001")

    assert read_state(written) == attrs.evolve(
        before,
        iteration=3,
        attempts=attempts,
        forgiven=attempts,
        num_iterations=9,
        pack="pack-0001",
    )
    assert read_run_config(written.config).num_iterations == 9
    assert not written.cancel_request.exists()


def test_an_attempt_that_nobody_counted_is_counted(workplace, written):
    """A run that is recorded as running, and is not, has lost its machine."""
    write_state(written, attrs.evolve(read_state(written), status="running"))

    (run,) = plan(workplace)
    write_submitted(run, pack="pack-0001")

    assert (run.state, run.is_due) == ("waiting", True)
    assert read_state(written).attempts == {"node_failure": 1}


@pytest.mark.parametrize(
    ("state", "iteration", "is_due"),
    [
        ("planned", 0, True),
        ("submitted", 0, False),
        ("running", 3, False),
        ("waiting", 3, True),
        ("failed", 3, True),
        ("cancelled", 3, True),
        ("finished", 5, False),
        ("finished", 3, True),
    ],
)
def test_which_runs_are_due(workplace, state, iteration, is_due):
    """All that are not on their way and have iterations left: five are asked for."""
    (new,) = plan(workplace)

    run = PlannedRun(
        config=new.config,
        folder=new.folder,
        state=state,
        recorded=RunState(iteration=iteration),
    )

    assert run.is_due == is_due


def test_a_run_that_is_trained_is_left_alone(workplace, written):
    """Whoever trains it, and whatever was written last."""
    with Lease.take(written.lease, owner="somebody", attempt=0):
        (run,) = plan(workplace)

    assert (run.state, run.is_due) == ("running", False)


def test_a_run_whose_job_waits_is_left_alone(workplace, written, slurm):
    """Preempted, and requeued: its job carries it on, and a second one is not to."""
    submitted(workplace.experiment, "pack-0001", "dummies", status="waiting")
    slurm.queue(("12_3", "PENDING", "Priority"))
    (run,) = plan(workplace)
    assert (run.state, run.is_due) == ("waiting", False)

    slurm.queue()
    (run,) = plan(workplace)
    assert (run.state, run.is_due) == ("waiting", True)


def test_a_run_whose_job_is_on_hold_is_due(workplace, written, slurm):
    """A node could not start the job, and nobody may release it; it leaves the queue at last."""
    submitted(workplace.experiment, "pack-0001", "dummies", status="waiting")
    slurm.queue(("12_3", "PENDING", "launch failed requeued held"))

    (run,) = plan(workplace)

    assert (run.state, run.is_due, run.held_job) == ("waiting", True, "12_3")
    said: list[str] = []
    cancel_held_jobs([run], said.append)
    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_3"]
    assert not said


def test_a_run_whose_job_may_wait_is_left_alone(workplace, written, slurm):
    """No second job is started while Slurm is silent, and it is said why; cancelling frees it."""
    submitted(workplace.experiment, "pack-0001", "dummies")
    slurm.is_silent()

    assert workplace.submit() == 3
    assert workplace.out.startswith(
        "1 run is left alone: whether its job 12_3 is in the queue is not known, as Slurm does not "
        "answer: `squeue"
    )
    assert workplace.launch("cancel", str(written.path)) == 0
    assert plan(workplace)[0].is_due


def test_a_run_never_changes_what_it_trains(workplace, written):
    """Refused with every key that differs, and what to do; nothing is written."""
    config = written.config.read_text()

    assert workplace.submit("trainer.batch_size=2", "seed=9", "num_iterations=9") == 2

    assert workplace.err.splitlines() == [
        f"{written.path} holds another run:",
        "  seed: was 0, is 9",
        "  trainer.batch_size: was 1, is 2",
        "A run never changes what it trains. Take the old values, give the experiment another "
        f"name, choose another --root, or remove {workplace.experiment.path}.",
    ]
    assert written.config.read_text() == config
    assert read_state(written).pack == "pack-0000"


def test_words_that_change_nothing_may_be_added(workplace, written):
    """Of an array that is understood as before; others are another run."""
    added = "datasets.0.raw.axes=[z, y, x]"

    assert (
        plan(workplace, added)[0].config.fingerprint != read_run_config(written.config).fingerprint
    )
    assert workplace.submit("datasets.0.raw.offset_nm=[8, 0, 0]") == 2
    assert workplace.submit("datasets.0.raw.axes=[x, y, z]") == 2
    assert "holds another run:\n  datasets.0.raw.axes: was absent, is [" in workplace.err


def test_many_conflicts_are_cut_short(workplace):
    """Five are shown, the others are counted."""
    for run in plan(workplace, "sweep.num_iterations=[1, 2, 3, 4, 5, 6, 7]"):
        write_submitted(run, pack="pack-0000")

    assert workplace.submit("sweep.num_iterations=[1, 2, 3, 4, 5, 6, 7]", "seed=1") == 2

    lines = workplace.err.splitlines()
    assert sum("holds another run" in line for line in lines) == 5
    assert lines[-2] == "and 2 more"


def test_first_weights_must_be_somewhere(workplace, tmp_path):
    """A path that leads to none is refused before anything is written, once for all runs."""
    assert workplace.submit("init_from=experiments/on", "sweep.seed=[1, 2]") == 2

    assert workplace.err == (
        f"init_from: found {tmp_path}/experiments/on, which does not exist; must be the folder of "
        "a run, for its newest whole checkpoint, or that of one checkpoint, such as "
        "RUN/checkpoints/iteration-000001000\n"
    )
    assert not workplace.experiment.runs.exists()


def test_first_weights_may_go_once_the_run_has_its_own(workplace, tmp_path):
    """Only its first attempts read them."""
    source = tmp_path / "experiments" / "other" / "runs" / "a"
    source.mkdir(parents=True)
    (source / "config.yaml").touch()
    override = f"init_from={source}"
    for run in plan(workplace, override):
        write_submitted(run, pack="pack-0000")
    shutil.rmtree(source)
    run = workplace.run()

    with pytest.raises(ConfigError, match="which does not exist"):
        plan(workplace, override)
    write_state(run, attrs.evolve(read_state(run), saved_iteration=1))
    assert plan(workplace, override)


@pytest.fixture
def wandb_server(monkeypatch):
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    yield server
    server.close()


def save_elsewhere(tmp_path, iteration):
    folder = tmp_path / "other" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    store = CheckpointStore(folder, fingerprint="another")
    return store.save(iteration, {"model": {"weights": torch.zeros(1)}})


def test_first_weights_from_wandb_are_recorded_at_the_submission(workplace, wandb_server, tmp_path):
    """An alias that moves on afterwards changes nothing; W&B is asked once for all runs."""
    override = f"init_from=wandb://{ENTITY}/tests/checkpoints:best"
    first = save_elsewhere(tmp_path, 10)
    wandb_server.artifacts.add(first, alias="best")
    runs = plan(workplace, override, "sweep.seed=[1, 2]")
    assert wandb_server.asked == ["CheckpointArtifact"]
    for run in runs:
        write_submitted(run, pack="pack-0000")
        taken = json.loads(run.folder.initial_weights.read_text())
        assert (taken["checkpoints"], taken["iteration"]) == (str(first.parent), 10)
        assert taken["artifact"].endswith("checkpoints:v0")
        assert read_run_config(run.folder.config).fingerprint == run.config.fingerprint
    wandb_server.artifacts.add(save_elsewhere(tmp_path, 20), alias="best")
    assert [each.weights for each in plan(workplace, override, "sweep.seed=[1, 2]")] == [None, None]
    assert wandb_server.asked == ["CheckpointArtifact"]


def test_first_weights_that_wandb_does_not_have(workplace, wandb_server):
    """Refused before anything is written; a server that is away is another failure."""
    override = f"init_from=wandb://{ENTITY}/tests/checkpoints:best"
    assert workplace.submit(override) == 2
    assert "there is no project somebody/tests, or this account may not read it" in workplace.err
    wandb_server.fault = lambda operation: 503
    assert workplace.submit(override) == exit_codes.UNAVAILABLE
    assert "W&B answers 503" in workplace.err
    assert not workplace.experiment.runs.exists()


def test_a_folder_without_state_is_judged_by_its_config(workplace, written):
    """A run that was made by hand has no recorded identity."""
    written.state.unlink()
    written.events.unlink()

    assert plan(workplace)[0].state == "planned"
    assert workplace.submit("seed=9", "--dry-run") == 2


def test_a_run_whose_state_is_missing_is_not_submitted_anew(workplace, written):
    """It has events, so its state may be away only; the message says what to do."""
    written.state.unlink()

    assert workplace.submit() == exit_codes.UNAVAILABLE

    assert f"{written.state} is missing" in workplace.err
    assert not written.state.exists()


def test_a_run_whose_state_is_damaged_is_not_submitted_anew(workplace, written):
    """That would wipe its attempts and its W&B id; the message says what to do."""
    written.state.write_text("not json")

    assert workplace.submit() == 2

    assert "is not the state of a run" in workplace.err
    assert written.state.read_text() == "not json"


def test_the_experiment_file_is_kept(workplace, tmp_path):
    """With where it lay, and what the command line added."""
    workplace.experiment.path.mkdir(parents=True)

    write_source(workplace.experiment, read_experiment(FILE, ["seed=3", "name=x"]))

    first, second, third, rest = workplace.experiment.source.read_text().split("\n", 3)
    assert first == f"# submitted from {tmp_path / 'dummies.yaml'}"
    assert (second, third) == ("# with seed=3", "# with name=x")
    assert rest == FILE.read_text()


def test_differences_are_named_by_their_keys():
    """Down to single values; lists of different lengths are shown whole."""
    before = {"a": 1, "b": [{"c": 2}, 3], "d": [1], "e": "x", "same": {"f": 0}}
    after = {"a": 1.5, "b": [{"c": 4}, 3], "d": [1, 2], "g": None, "same": {"f": 0}}

    assert list(differences(before, after)) == [
        Difference("a", "1", "1.5"),
        Difference("b.0.c", "2", "4"),
        Difference("d", "[1]", "[1, 2]"),
        Difference("e", "'x'", "absent"),
        Difference("g", "absent", "None"),
    ]


def test_events_tell_the_story(workplace, written):
    """Every submission is one."""
    (event,) = map(json.loads, written.events.read_text().splitlines())

    assert (event["event"], event["pack"]) == ("submitted", "pack-0000")

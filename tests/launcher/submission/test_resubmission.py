"""Starting runs again from nothing but their folders."""

import json
from functools import partial
from pathlib import Path

import attrs
import pytest

from launcher import cli
from launcher.clusters.cluster_search import open_cluster
from launcher.clusters.submission_target import SlurmOptions
from launcher.errors import LauncherError
from launcher.experiment.experiment import read_experiment
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import read_pack, write_pack
from launcher.job.requeue_policy import decide_retry
from launcher.monitor.find_run import find_runs
from launcher.submission.plan import plan_runs
from launcher.submission.resubmission import choose_runs
from launcher.submission.write_runs import write_source, write_submitted
from tests.fakes.fake_slurm import submitted
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, RunState, Status, read_state, write_state

FILE = Path("dummies.yaml")
SWEEP = "sweep.seed=[1, 2, 3]"


@pytest.fixture
def written(workplace):
    """Three runs of an experiment: one failed, one waits, one is finished."""
    experiment = read_experiment(FILE, [SWEEP])
    for run in plan_runs(workplace.experiment, experiment.runs):
        write_submitted(run, pack="")
    write_source(workplace.experiment, experiment)
    for name, status in (("seed-1", "failed"), ("seed-2", "waiting"), ("seed-3", "finished")):
        run = workplace.run(name)
        write_state(run, attrs.evolve(read_state(run), status=status, iteration=5))
    FILE.unlink()
    return workplace


def again(workplace, *states, cluster=None):
    return choose_runs(find_runs(workplace.experiment.path), states, cluster=cluster)


@pytest.mark.parametrize(
    ("states", "names"),
    [
        (["failed"], ["seed-1"]),
        (["waiting", "failed"], ["seed-1", "seed-2"]),
        (["cancelled"], None),
    ],
)
def test_runs_are_chosen_by_their_states(written, states, names):
    """The file of the experiment is not needed."""
    found = again(written, *states)

    assert (found and [run.name for run in found.experiment.runs]) == names


def test_runs_go_where_they_were(written, slurm):
    """To the cluster that their packs were submitted to, unless another one is named."""
    assert again(written, "failed").cluster == "local"
    submitted(written.experiment, "pack-0001", "seed-1", status="failed")

    assert again(written, "failed").cluster == "slurm"
    assert again(written, "failed", cluster="mine.yaml").cluster == "mine.yaml"
    with pytest.raises(LauncherError, match="several clusters, local and slurm; add --cluster"):
        again(written, "failed", "waiting")


def test_options_of_slurm_are_remembered(written, slurm):
    """Those of the submission, unless others are given, or another cluster is named."""
    given = {"partition": "gpu", "time": "10:00:00", "pack": 2, "nodes": None}
    submitted(written.experiment, "pack-0001", "seed-1", status="failed", options=given)
    runs = find_runs(written.experiment.path)

    found = choose_runs(runs, ["failed"], cluster=None).options
    assert (found.partition, found.time, found.pack) == ("gpu", "10:00:00", 2)
    more = SlurmOptions(time="01:00:00", account="lab")
    found = choose_runs(runs, ["failed"], cluster="slurm", options=more).options
    assert (found.partition, found.time, found.account) == ("gpu", "01:00:00", "lab")
    assert choose_runs(runs, ["failed"], cluster="other.yaml", options=more).options == more

    submitted(written.experiment, "pack-0002", "seed-2", options={"partition": "cpu", "pack": 2})
    both = partial(choose_runs, runs, ["failed", "waiting", "submitted"], cluster=None)
    with pytest.raises(LauncherError, match="several values of --partition, cpu and gpu; add --p"):
        both()
    found = both(options=SlurmOptions(partition="gpu", time="01:00:00")).options
    assert (found.partition, found.pack) == ("gpu", 2)


def test_a_cluster_is_the_same_from_every_folder(written, slurm):
    """A pack has the absolute path of its config, a command line perhaps a relative one."""
    given = {"partition": "gpu"}
    pack = submitted(written.experiment, "pack-0001", "seed-1", status="failed", options=given)
    found = read_pack(pack)
    config = str(Path("mine.yaml").absolute())
    write_pack(pack, attrs.evolve(found, slurm=attrs.evolve(found.slurm, cluster=config)))

    chosen = again(written, "failed", cluster="mine.yaml")

    assert (chosen.cluster, chosen.options.partition) == ("mine.yaml", "gpu")


def test_an_option_that_some_runs_have_not_is_named_as_it_is_typed(written, slurm):
    """None cannot be given: then these runs are a submission of their own."""
    submitted(written.experiment, "pack-0001", "seed-1", options={"gpu_type": "a100"})
    submitted(written.experiment, "pack-0002", "seed-2", options={})

    with pytest.raises(LauncherError) as caught:
        again(written, "submitted", "waiting")

    assert str(caught.value) == (
        "these runs were submitted with several values of --gpu-type, a100 and none; add "
        "--gpu-type, or resubmit the runs of each value by themselves, as EXPERIMENT/RUN"
    )


def test_a_local_cluster_of_ones_own_is_remembered(written):
    """By its absolute path: the next command may come from another folder."""
    config = Path("cluster_configs/local.yaml").rename("mine.yaml")
    pack = submitted(written.experiment, "pack-0001", "seed-1", status="failed", job_id=None)
    write_pack(
        pack, attrs.evolve(read_pack(pack), slurm=None, cluster=open_cluster("mine.yaml").reference)
    )

    assert again(written, "failed").cluster == str(config.absolute())


def test_a_pack_that_is_damaged_is_not_needed(written, slurm):
    """Where its runs were submitted to can be said by hand."""
    pack = submitted(written.experiment, "pack-0001", "seed-1", status="failed")
    pack.manifest.write_text("{")

    with pytest.raises(LauncherError, match=r"pack.json is damaged \(.*\); add --cluster"):
        again(written, "failed")
    assert again(written, "failed", cluster="mine.yaml").cluster == "mine.yaml"


def test_several_experiments_are_refused(written, tmp_path):
    """Each has a submission of its own."""
    other = written.experiment.path.parent / "others" / "runs" / "x"
    other.mkdir(parents=True)
    (other / "state.json").write_text("{}")

    with pytest.raises(LauncherError, match="these runs are of 2 experiments; give one of them: d"):
        choose_runs(find_runs(other.parents[2]), ["failed"], cluster=None)


def test_nothing_to_start_again(written):
    """Exit code 3, and the states that were looked for."""
    assert written.launch("resubmit", "experiments", "--state=cancelled") == 3
    assert written.err == "nothing to do: no run is cancelled\n"

    assert written.launch("resubmit", "experiments", "--state=cancelled", "--json") == 3
    assert json.loads(written.out) == {"runs": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: --state"),
        (["--state=finished"], "found 'finished'; must be among failed, waiting, cancelled"),
        (["--state=failed", "--seed=3"], "unrecognized arguments: --seed=3"),
    ],
)
def test_wrong_usage(written, capsys, arguments, message):
    """Exit code 2; overrides are for `launch submit`."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["resubmit", "experiments", *arguments])

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_whose_job_waits_is_not_started_twice(written, slurm):
    """It is left alone, as by any other submission."""
    submitted(written.experiment, "pack-0001", "seed-2", status="waiting")
    slurm.queue(("12_3", "PENDING", "Priority"))

    assert written.launch("resubmit", "experiments", "--state=waiting", "--cluster=local") == 3
    assert "nothing to do" in written.out


def test_a_dry_run_writes_nothing(written, tmp_path):
    """It shows what would be started."""
    before = sorted(tmp_path.rglob("*"))

    assert written.launch("resubmit", "experiments", "--state=failed,waiting", "--dry-run") == 0

    assert "seed-1  to submit: was failed" in written.out
    assert "seed-3" not in written.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_runs_are_started_again(written):
    """With the configs of their folders; the experiment's own file stays as it was submitted."""
    source = written.experiment.source.read_bytes()
    for name in ("seed-1", "seed-2"):
        run = written.run(name)
        write_state(run, attrs.evolve(read_state(run), iteration=0))

    command = ("resubmit", "experiments", "--state=failed,waiting", "--wait", "--json")
    assert written.launch(*command) == 0

    statuses = json.loads(written.out)["statuses"]
    assert [(each["name"], each["state"]) for each in statuses] == [
        ("seed-1", "finished"),
        ("seed-2", "finished"),
    ]
    assert written.experiment.source.read_bytes() == source


@pytest.mark.slow
def test_a_failed_run_has_its_budgets_anew(workplace):
    """Each submission tries as often as the budget says; earlier attempts stay counted."""
    arguments = ("architecture.arguments.groups=2", "--wait")
    assert workplace.submit(*arguments, "retries.crashed=0") == 1
    assert workplace.state().attempts == {"crashed": 1}

    assert workplace.launch("resubmit", "experiments", "--state=failed", "--wait") == 1
    assert workplace.state().attempts == {"crashed": 2}
    assert workplace.submit(*arguments, "retries.crashed=1") == 1

    state = workplace.state()
    assert state.attempts["crashed"] in (3, 4)
    assert state.forgiven == {"crashed": 2}


CRASHED = AttemptEnd(cause=Cause.CRASHED, reason="exit code 1")


@pytest.mark.parametrize(
    ("attempts", "forgiven", "stalled", "status"),
    [
        (2, 0, 0, "waiting"),
        (3, 0, 0, "failed"),
        (3, 2, 0, "waiting"),
        (5, 2, 0, "failed"),
        (1, 0, 10, "failed"),
    ],
)
def test_forgiven_attempts_count_against_no_budget(attempts, forgiven, stalled, status):
    """Two crashes are retried; the reason counts from the last submission."""
    state = RunState(
        attempts={"crashed": attempts}, forgiven={"crashed": forgiven}, stalled=stalled
    )

    judged = decide_retry(state, CRASHED, RetriesConfig())

    assert judged.status == status
    if status == "failed" and not stalled:
        assert judged.reason.startswith("given up: crashed 3 times, and retries.crashed is 2")
    assert (
        decide_retry(
            state.reset_retry_budget().ended(cause=Cause.CRASHED, status=Status.WAITING),
            CRASHED,
            RetriesConfig(),
        ).status
        == "waiting"
    )


def test_the_copy_of_an_experiment_can_be_submitted(workplace):
    """It does not become a copy of itself; with overrides it is headed by them."""
    workplace.experiment.path.mkdir(parents=True)
    write_source(workplace.experiment, read_experiment(FILE, ["seed=3"]))
    source = workplace.experiment.source
    before = source.read_text()

    copy = attrs.evolve(read_experiment(FILE), source=source)
    write_source(workplace.experiment, copy)
    assert source.read_text() == before

    write_source(workplace.experiment, attrs.evolve(copy, overrides=("seed=4",)))
    assert source.read_text().endswith(before)
    assert "# with seed=4\n" in source.read_text()

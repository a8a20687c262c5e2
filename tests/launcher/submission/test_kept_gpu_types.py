"""On which type of GPUs runs go on."""

from pathlib import Path

import attrs
import pytest

from launcher.experiment.experiment import read_experiment
from launcher.job.pack import read_pack, write_pack
from launcher.submission.kept_gpu_types import kept_gpu_types
from launcher.submission.plan import plan_runs
from launcher.submission.write_runs import write_submitted
from tests.fakes.fake_slurm import submitted
from trainers.run.run_state import read_state, write_state


@pytest.fixture
def experiment(workplace):
    """Three runs of 5 iterations that were submitted to a100s, and have got to the third."""
    experiment = read_experiment(Path("dummies.yaml"), ["sweep.seed=[1, 2, 3]", "num_iterations=5"])
    for run in plan_runs(workplace.experiment, experiment.runs):
        write_submitted(run, pack="")
    names = [run.name for run in experiment.runs]
    folder = submitted(workplace.experiment, "pack-0000", *names)
    pack = read_pack(folder)
    write_pack(folder, attrs.evolve(pack, slurm=attrs.evolve(pack.slurm, gpu_type="a100")))
    for name in names:
        change(workplace, name, status="waiting", iteration=3, saved_iteration=3)
    return experiment


def change(workplace, name, **state):
    run = workplace.run(name)
    write_state(run, attrs.evolve(read_state(run), **state))


def test_runs_keep_the_type_of_their_last_pack(workplace, experiment):
    """As long as they have something to lose: a checkpoint, and iterations that are left."""
    change(workplace, "seed-2", status="submitted", iteration=0, saved_iteration=0)
    change(workplace, "seed-3", status="finished", iteration=5, saved_iteration=5)

    assert kept_gpu_types(experiment, workplace.experiment.path.parent) == {"seed-1": "a100"}


def test_runs_that_go_on_by_themselves_do_not_choose(workplace, experiment, slurm):
    """One that was resubmitted to other GPUs, and is queued, is not in the way of the rest."""
    folder = submitted(workplace.experiment, "pack-0001", "seed-2")
    pack = read_pack(folder)
    write_pack(folder, attrs.evolve(pack, slurm=attrs.evolve(pack.slurm, gpu_type="v100")))
    change(workplace, "seed-2", pack="pack-0001")
    for name in ("seed-1", "seed-3"):
        change(workplace, name, status="cancelled")

    slurm.queue(("12_3", "PENDING"))
    waiting = kept_gpu_types(experiment, workplace.experiment.path.parent)
    slurm.queue()
    ended = kept_gpu_types(experiment, workplace.experiment.path.parent)

    assert waiting == {"seed-1": "a100", "seed-3": "a100"}
    assert ended == {**waiting, "seed-2": "v100"}


def test_what_cannot_be_read_keeps_nothing(workplace, experiment):
    """Nor does a run that is new; planning tells what is wrong with the others."""
    workplace.run("seed-1").state.write_text("{")
    workplace.experiment.pack("pack-0000").manifest.write_text("{")

    assert kept_gpu_types(experiment, workplace.experiment.path.parent) == {}
    assert kept_gpu_types(experiment, workplace.experiment.path.parent / "other") == {}

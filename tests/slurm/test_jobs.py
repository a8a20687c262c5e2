"""What is submitted, and what runs."""

import itertools
import json
import os
import pickletools

import pytest

pytestmark = pytest.mark.slurm

QUICK = ("num_iterations=20", "architecture.arguments.seconds=0")


def write_cluster(workplace, **fields):
    """A config of the name `own`."""
    content = {"kind": "slurm", "description": "a test's own", **fields}
    (workplace.folder / "cluster_configs" / "own.yaml").write_text(json.dumps(content))


def test_a_refusal_leaves_the_runs_as_they_were(sandbox, workplace):
    """Exit code 5 and Slurm's own words; submitting again is not in the way of anything."""
    write_cluster(workplace, sbatch={"licenses": "none-such"})

    words = ("submit", "naps.yaml", "--cluster=own", "--allow-invalid")
    workplace.launch(*words, *QUICK, code=5)

    assert workplace.state().status == "planned"
    workplace.submit(*QUICK)
    workplace.wait_for_end()
    assert workplace.state().status == "finished"


@pytest.mark.parametrize("place", ["beside", "linked", "on PYTHONPATH"])
def test_the_code_that_was_submitted_runs(sandbox, workplace, place, tmp_path_factory, monkeypatch):
    """Wherever it lies, and whatever has become of it until the job starts."""
    write_cluster(workplace, sbatch={"hold": True})
    module = workplace.folder / "naps.py"
    if place != "beside":
        source = tmp_path_factory.mktemp("src") / "nets"
        source.mkdir()
        module = module.rename(source / "naps.py")
        file = workplace.folder / "naps.yaml"
        file.write_text(file.read_text().replace("naps:Sleep", "nets.naps:Sleep"))
    if place == "linked":
        (workplace.folder / "nets").symlink_to(module.parent)
    elif place == "on PYTHONPATH":
        path = f"{module.parents[1]}:{os.environ.get('PYTHONPATH', '')}"
        monkeypatch.setenv("PYTHONPATH", path)
    workplace.submit(*QUICK, cluster="own")
    module.write_text("raise SystemExit('not what was submitted')")

    sandbox.run("scontrol", "release", workplace.job())

    workplace.wait_for_end()
    assert workplace.state().attempts == {"finished": 1}


def test_changed_code_does_not_run(sandbox, workplace):
    """Somebody has changed the copy: the run fails, and says which file."""
    write_cluster(workplace, sbatch={"hold": True})
    workplace.submit(*QUICK, cluster="own")
    (copy,) = workplace.experiment.code.glob("*/user-0/naps.py")
    copy.chmod(0o644)
    copy.write_text("raise SystemExit('not what was submitted')")

    sandbox.run("scontrol", "release", workplace.job())

    sandbox.wait_for(lambda: workplace.state().status == "failed")
    assert "changed: user-0/naps.py" in workplace.state().reason
    assert workplace.launches() == 0


def test_the_pickle_of_a_job_holds_a_path(sandbox, workplace):
    """A function by its name, and the path of the pack; no config, no code, no state."""
    write_cluster(workplace, sbatch={"hold": True})
    workplace.submit(*QUICK, cluster="own")

    (pickled,) = workplace.experiment.submitit.glob("*_submitted.pkl")

    texts = [
        value for _, value, _ in pickletools.genops(pickled.read_bytes()) if type(value) is str
    ]
    assert str(workplace.pack().path) in texts
    assert {"launcher.job.pack_job", "run_pack"} <= set(texts)
    assert not [text for text in texts if "naps" in text and text != str(workplace.pack().path)]
    assert pickled.stat().st_size < 1000


def test_the_config_reaches_the_job(sandbox, workplace):
    """Set-up lines run, variables are set, and further options go to sbatch."""
    noted = workplace.folder / "noted"
    write_cluster(
        workplace,
        setup=[f'printenv TONE > "{noted}"'],
        environment={"TONE": "deep blue"},
        sbatch={"comment": "a word"},
    )
    workplace.submit(*QUICK, cluster="own")
    workplace.wait_for_end()

    assert noted.read_text() == "deep blue\n"
    assert sandbox.details(workplace.job())["Comment"] == "a"


def test_members_take_turns(sandbox, workplace):
    """The next one has the slot of the one that has ended; the job asks for no more than that."""
    names = [f"seed-{seed}" for seed in (1, 2, 3)]
    report = workplace.submit(
        *QUICK, "sweep.seed=[1, 2, 3]", "resources.gpus=4", "trainer.batch_size=4", "--pack=3"
    )
    (pack,) = report["packs"]
    assert pack["runs"] == names

    for name in names:
        workplace.wait_for_end(name)

    assert [workplace.state(name).attempts for name in names] == [{"finished": 1}] * 3
    times = [
        [
            event["time"]
            for event in workplace.events(name)
            if event["event"] in ("launched", "ended")
        ]
        for name in names
    ]
    times.sort()
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(times))
    details = sandbox.details(workplace.job(names[0]))
    assert "gres/gpu=4" in (details.get("TRES") or details["ReqTRES"])  # its name since 23.02


def test_shares_have_one_gpu_between_them(sandbox, workplace):
    """Four quarters run at the same time on the same GPU, in a job with one."""
    names = [f"seed-{seed}" for seed in (1, 2, 3, 4)]
    workplace.submit("num_iterations=200", "sweep.seed=[1, 2, 3, 4]", "resources.gpus=0.25")
    for name in names:
        workplace.wait_for_end(name)

    launched = [
        next(event for event in workplace.events(name) if event["event"] == "launched")
        for name in names
    ]
    assert {(event["job"], *event["gpus"]) for event in launched} == {
        (workplace.job(names[0]), "0")
    }
    ended = min(
        event["time"]
        for name in names
        for event in workplace.events(name)
        if event["event"] == "ended"
    )
    assert max(event["time"] for event in launched) < ended

"""The command line, as far as nothing is trained."""

import json
import os
import re
import subprocess

import pytest

from launcher import exit_codes
from launcher.cli import argument_types, arguments
from launcher.experiment import experiment_folder
from launcher.job.bad_nodes import NodeFailure, note_node_failure
from launcher.monitor.status_table import COLUMNS
from launcher.submission.options import SubmitOptions
from scripts.workloads.checkout import LAUNCH, ROOT
from trainers.run.run_state import RunState, Status, write_state

SWEEP = "sweep.seed=[1, 2]"


def test_a_dry_run_writes_nothing(workplace, tmp_path):
    """It shows the placement that the submission would have."""
    before = sorted(tmp_path.rglob("*"))

    assert workplace.submit(SWEEP, "--dry-run") == 0

    assert workplace.out.splitlines() == [
        "this machine has no GPU to give: the runs use the CPU",
        "RUN     ACTION     SLOT          FOLDER",
        "seed-1  to submit  1 of 2 cores  experiments/dummies/runs/seed-1",
        "seed-2  to submit  1 of 2 cores  experiments/dummies/runs/seed-2",
        "2 of 2 to do, at most 2 at once",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_as_json(workplace, tmp_path):
    """Programs are told the same as people."""
    assert workplace.submit("--dry-run", "--json") == 0

    folder = tmp_path / "experiments" / "dummies"
    assert json.loads(workplace.out) == {
        "dashboards": [],
        "experiment": "dummies",
        "folder": str(folder),
        "notices": ["this machine has no GPU to give: the runs use the CPU"],
        "packs": [],
        "refusal": None,
        "max_at_once": 1,
        "runs": [
            {
                "name": "dummies",
                "folder": str(folder / "runs" / "dummies"),
                "state": "planned",
                "due": True,
            }
        ],
    }


def test_overrides_may_stand_anywhere(workplace):
    """Before and after options, the last one above the others."""
    code = workplace.launch(
        "submit",
        "dummies.yaml",
        "name=first",
        "--cluster=local",
        "name=second",
        "--allow-invalid",
        "--dry-run",
        "sweep.seed=[7]",
    )

    assert code == 0
    assert "experiments/second/runs/seed-7" in workplace.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["submit", "dummies.yaml"], "required: --cluster"),
        (["submit", "dummies.yaml", "--cluster", "local", "--dryrun"], "arguments: --dryrun"),
        (["explain", "one", "two"], "unrecognized arguments: two"),
        (["status", "--state=lost"], "found 'lost'; must be among planned, submitted, running"),
        (["status", "--sort=name"], "invalid choice: 'name' (choose from 'run', 'state'"),
        (["status", "--watch", "--json"], "leave out --json or --watch"),
        (["cancel"], "required: TARGET"),
    ],
)
def test_wrong_usage(workplace, capsys, arguments, message):
    """Exit code 2, and a word about what is wrong."""
    with pytest.raises(SystemExit) as caught:
        workplace.launch(*arguments)

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["dummies.yaml", "--cluster", "slurn"],
            "no cluster 'slurn'; did you mean 'slurm'? available: local, debug",
        ),
        (["dummies.yaml", "--cluster", "my.yaml"], "my.yaml: No such file or directory"),
        (["none.yaml", "--cluster", "local"], "none.yaml: No such file or directory"),
        (
            ["dummies.yaml", "num_iterations=0", "seed=-1", "--cluster", "local"],
            "command line: num_iterations=0: num_iterations: found 0; must be at least 1\n"
            "command line: seed=-1: seed: found -1; must be at least 0",
        ),
        (
            ["dummies.yaml", SWEEP, "--cluster", "local"],
            "seed-1 and 1 more: a DummyTrainerConfig is for tests and is never valid\n"
            "--allow-invalid submits them anyway",
        ),
        (
            ["dummies.yaml", "--cluster", "debug"],
            "dummies: a DummyTrainerConfig is for tests and is never valid\n"
            "--allow-invalid submits them anyway",
        ),
    ],
)
def test_what_cannot_be_submitted(workplace, tmp_path, arguments, message):
    """All faults are told, with exit code 2, and nothing is written."""
    assert workplace.launch("submit", *arguments) == 2

    assert workplace.err.startswith(message)
    assert not (tmp_path / "experiments").exists()


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A program that lists one GPU and answers `Default` else, for the cluster `gpu.yaml`."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    listing = "GPU 0: NVIDIA A40 (UUID: GPU-aaaa)"
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && echo "{listing}" || echo Default\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "gpu.yaml").write_text("kind: local\ndescription: one GPU\n")
    return program


def test_a_machine_whose_gpus_take_one_process(workplace, nvidia_smi):
    """Shares of them run one after the other, and the submission says so."""
    exclusive = "(compute mode EXCLUSIVE_PROCESS): runs with a share of one have it to themselves"
    words = ("--cluster=gpu.yaml", "sweep.seed=[1, 2]", "resources.gpus=0.5", "--dry-run")

    assert workplace.submit(*words) == 0
    assert exclusive not in workplace.out
    nvidia_smi.write_text(nvidia_smi.read_text().replace("Default", "Exclusive_Process"))
    assert workplace.submit(*words) == 0
    assert exclusive in workplace.out
    assert "2 of 2 to do, at most 1 at once" in workplace.out


def test_a_run_that_fits_no_machine(workplace, tmp_path, nvidia_smi):
    """More GPUs than there are: exit code 4, and the most that would fit."""
    code = workplace.submit("--cluster=gpu.yaml", "sweep.resources.gpus=[1, 2]")

    assert code == 4
    assert workplace.err == (
        "gpus-2 does not fit because resources.gpus is 2 and this machine has 1 to give; "
        "resources.gpus=1 would fit\n"
    )
    assert not (tmp_path / "experiments").exists()
    assert workplace.submit("--cluster=gpu.yaml", "--dry-run") == 0
    assert "dummies  to submit  1 of 1 GPUs" in workplace.out


def test_a_job_that_does_not_start(workplace, monkeypatch):
    """Exit code 5 with the job's own words; the runs are planned, and can be submitted."""
    monkeypatch.setenv("LAUNCH_SLOTS_DIR", "/proc/no/such/folder")

    assert workplace.submit() == 5

    assert "did not start" in workplace.err
    assert "/proc/no/such/folder (No such file or directory)" in workplace.err
    assert workplace.status().state == "planned"


def test_status_without_runs(workplace):
    """The folder that was looked at, and the one that is needed."""
    assert workplace.launch("status") == 2

    assert workplace.err.startswith(f"{workplace.experiment.path.parent} is not a directory; give")


def test_a_reader_may_stop_reading(workplace):
    """`launch clusters | true` ends in silence."""
    reading_end, writing_end = os.pipe()
    os.close(reading_end)

    command = [*LAUNCH, "clusters"]
    clusters = subprocess.run(command, stdout=writing_end, stderr=subprocess.PIPE)

    assert (clusters.returncode, clusters.stderr) == (0, b"")
    os.close(writing_end)


def test_the_exit_codes_are_told_wherever_they_are_listed(capsys):
    """In the help and in the documentation: all of them, and no other."""
    with pytest.raises(SystemExit):
        arguments.parse(["--help"])
    told = capsys.readouterr().out.partition("exit codes:\n")[2]
    page = (ROOT / "docs" / "getting-started.md").read_text()
    known = {value for name, value in vars(exit_codes).items() if name.isupper()}

    assert {int(line.split()[0]) for line in told.splitlines() if line.strip()} == known
    assert set(map(int, re.findall(r"^\| (\d+) \| ", page, re.MULTILINE))) == known


def test_what_the_command_line_writes_out_is_as_elsewhere():
    """The default folder of experiments, the statuses of runs, and the columns of a table."""
    assert argument_types.ROOT == experiment_folder.ROOT == SubmitOptions().root
    assert set(argument_types.RESUBMITTABLE) <= set(argument_types.STATES) == set(Status)
    assert argument_types.COLUMNS == COLUMNS


def test_nodes_that_failed_are_listed_and_forgotten(workplace):
    """With how and how often; a node that has not failed leaves nothing to do."""
    run = workplace.experiment.run("first")
    run.path.mkdir(parents=True)
    write_state(run, RunState())
    for _ in range(2):
        failure = NodeFailure(node="n1", kind="GPU fault", run="first", reason="ECC")
        note_node_failure(workplace.experiment, failure)

    assert workplace.launch("nodes") == 0
    assert "GPU fault 2" in workplace.out
    assert "first: ECC" in workplace.out
    assert workplace.launch("nodes", "--forget", "n2") == 3
    assert workplace.launch("nodes", "experiments/dummies", "--forget", "n1") == 0
    assert "no node has failed a run" in workplace.out

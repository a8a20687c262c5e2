import os
import subprocess
import sys

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.bad_nodes import NodeFailureKind, read_node_failures
from launcher.job.batch_end import count_failed_starts
from launcher.job.pack import PackEventKind, append_pack_event, read_pack_events
from launcher.slurm import submit
from launcher.slurm.submit import MAX_FAILED_STARTS


@pytest.fixture
def experiment(tmp_path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "it's mine")
    folder.pack("pack-0001").path.mkdir(parents=True)
    return folder


def run_batch_script(
    experiment,
    tmp_path,
    monkeypatch,
    *,
    python,
    restarts=0,
    exclude="(null)",
    away=None,
    setup=(),
    nodes=("n1 idle", "n2 idle", "n8 mixed", "n9 idle"),
):
    """Run the script of task 1 of array 7, whose step exits with 2; return what scontrol is to do.

    Args:
        exclude: The nodes that the job is kept from, as `scontrol show job` prints them.
        away: A file with a character for each call that fails.
        nodes: Those of the partition, as `sinfo` prints them.
    """
    monkeypatch.setattr(sys, "executable", python)
    listing = tmp_path / "packs.txt"
    listing.write_text("pack-0000\npack-0001\n")
    scontrol = tmp_path / "scontrol"
    details = f"   ReqNodeList=(null) ExcNodeList={exclude} \\n   NodeList=n1"
    # `show hostnames` prints the names a line each; the lists of these tests have no ranges.
    show = (
        '[ "$1 $2" = "show hostnames" ] && echo "$3" | tr , "\\n" && exit\n'
        f'[ "$1" = show ] && printf "{details}\\n" && exit'
    )
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\n" + "".join(f"echo '{node}'\n" for node in nodes))
    sinfo.chmod(0o755)
    fail = f"[ -s {away} ] && truncate --size=-1 {away} && exit 1\n" if away else ""
    scontrol.write_text(f'#!/bin/sh\n{show}\necho "$@" >> {tmp_path}/calls\n{fail}exit 0\n')
    scontrol.chmod(0o755)
    lines = submit._batch_lines(experiment, listing) + submit._setup_lines(setup)
    job = {
        "SLURM_JOB_ID": "8",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURMD_NODENAME": "n1",
        "SLURM_RESTART_COUNT": str(restarts),
        "SLURM_JOB_PARTITION": "gpu",
    }
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", "\n".join([*lines, "exit 2"])], env=job | path)
    assert done.returncode == 2
    calls = tmp_path / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_a_node_without_our_python_is_left(experiment, tmp_path, monkeypatch):
    """The shell requeues the job, away from the node, and notes what happened for all to read."""
    calls = run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", exclude="n9")

    assert calls == ["requeue 7_1", "update JobId=7_1 ExcNodeList=n9,n1"]
    (failure,) = read_node_failures(experiment)
    assert (failure.node, failure.kind) == ("n1", NodeFailureKind.FAILED_START)
    assert failure.job == "7_1"
    (event,) = read_pack_events(experiment.pack("pack-0001"))
    assert (event["event"], event["status"]) == ("step ended", 2)


@pytest.mark.parametrize("setup", [["set -euo pipefail"], ["set -Eeuo pipefail", "(exit 2)"]])
def test_it_is_left_whatever_the_setup_has_set(experiment, tmp_path, monkeypatch, setup):
    """What fails while the job is being ended does not end that."""
    monkeypatch.setattr(submit, "_REQUEUE_PAUSES_S", "0 0")
    away = tmp_path / "away"
    away.write_text(".")

    calls = run_batch_script(
        experiment, tmp_path, monkeypatch, python="/no/python", setup=setup, away=away
    )

    assert calls == ["requeue 7_1"] * 2 + ["update JobId=7_1 ExcNodeList=n1"]


def test_a_controller_that_is_away_is_asked_again_by_the_shell(experiment, tmp_path, monkeypatch):
    """As while it restarts: the job is requeued once it answers."""
    monkeypatch.setattr(submit, "_REQUEUE_PAUSES_S", "0 0 0")
    away = tmp_path / "away"
    away.write_text("..")

    calls = run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", away=away)

    assert calls == ["requeue 7_1"] * 3 + ["update JobId=7_1 ExcNodeList=n1"]


def test_it_is_left_for_a_node_that_is_not_known_to_be_bad(experiment, tmp_path, monkeypatch):
    """Not for the one that the job came from."""
    calls = run_batch_script(
        experiment, tmp_path, monkeypatch, python="/no/python", exclude="n[2-3],n7"
    )

    assert calls[1] == "update JobId=7_1 ExcNodeList=n[2-3],n7,n1"


@pytest.mark.parametrize(
    ("nodes", "exclude"),
    [
        (["n1 idle"], "(null)"),
        (["n1 idle", "n2 drained", "n3 down*", "n4 idle*"], "(null)"),
        (["n1 idle", "n2 idle", "n2 idle"], "n2,n7"),
        ([], "(null)"),
    ],
    ids=["only-node", "others-unusable", "others-excluded", "no-answer"],
)
def test_a_job_is_not_kept_from_all_nodes(experiment, tmp_path, monkeypatch, nodes, exclude):
    """It would wait for ever; so it fails again, and is given up."""
    calls = run_batch_script(
        experiment, tmp_path, monkeypatch, python="/no/python", nodes=nodes, exclude=exclude
    )

    assert calls == ["requeue 7_1"]


@pytest.mark.parametrize(
    ("before", "is_moved"),
    [
        (["began", 2, 2, 2], True),
        ([2, 2, 2, "began"], True),
        ([2, 2, 143, 138, 2], True),
        (["began", 2, 2, 2, 2], False),
    ],
)
def test_a_job_is_not_moved_without_end(experiment, tmp_path, monkeypatch, before, is_moved):
    """Five failures in a row, as `batch_end` counts them; a job may be preempted at will."""
    pack = experiment.pack("pack-0001")
    for each in before:
        if each == "began":
            append_pack_event(pack, PackEventKind.BEGAN)
        else:
            append_pack_event(pack, PackEventKind.STEP_ENDED, job="7_1", status=each)

    calls = run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", restarts=40)

    assert bool(calls) == is_moved
    assert is_moved == (count_failed_starts(list(read_pack_events(pack))) < MAX_FAILED_STARTS)


def test_a_job_whose_pack_cannot_be_written_is_not_moved_without_end(
    experiment, tmp_path, monkeypatch
):
    """Then its restarts are counted."""
    experiment.pack("pack-0001").path.rmdir()

    many, few = (
        run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", restarts=restarts)
        for restarts in (5, 4)
    )

    assert (many, few) == ([], ["requeue 7_1", "update JobId=7_1 ExcNodeList=n1"])


@pytest.mark.parametrize(
    ("options", "lines"), [({}, []), ({"wckey": "lab"}, ["#SBATCH --wckey=lab"])]
)
def test_no_wckey_is_sent_that_nobody_has_asked_for(
    experiment, tmp_path, monkeypatch, options, lines
):
    """submitit has one of its own by default, which sites that enforce such keys refuse."""
    programs = tmp_path / "programs"
    programs.mkdir()
    script = tmp_path / "script"
    (programs / "srun").write_text("#!/bin/sh\n")
    (programs / "sbatch").write_text(
        f'#!/bin/sh\ncat "$1" > "{script}"\necho "Submitted batch job 7"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    parameters = {
        "setup": [],
        "time": 5,
        "job_name": "lab",
        "additional_parameters": options,
    }

    submit.submit_array(experiment, [experiment.pack("pack-0001")], parameters, print)

    assert [line for line in script.read_text().splitlines() if "--wckey" in line] == lines


def test_a_step_that_ended_in_good_order_is_left_alone(experiment, tmp_path, monkeypatch):
    """Its supervisor has left the file `over`."""
    over = experiment.pack("pack-0001").is_over
    lines = submit._batch_lines(experiment, tmp_path / "none")
    script = "\n".join([*lines, f'LAUNCH_PACK="{over.parent}"', 'touch "$LAUNCH_PACK/over"'])

    subprocess.run(["bash", "-c", script], check=True)

    assert read_node_failures(experiment) == []


def test_a_signal_that_ends_our_python_is_no_fault_of_the_node(experiment, tmp_path, monkeypatch):
    """As when Slurm kills the job meanwhile: `batch_end` is tried all the same."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] && echo "$2" >> {tmp_path}/calls\nkill -TERM $$\n')
    python.chmod(0o755)

    calls = run_batch_script(experiment, tmp_path, monkeypatch, python=str(python))

    assert calls == ["launcher.job.batch_end"]
    assert read_node_failures(experiment) == []


def test_a_node_with_python_leaves_it_to_batch_end(experiment, tmp_path, monkeypatch):
    """That knows more: here it finds no pack, and the node is not blamed."""
    assert run_batch_script(experiment, tmp_path, monkeypatch, python=sys.executable) == []

    assert read_node_failures(experiment) == []


class Setup:
    """The batch script of a job with lines of `setup`, its Python one that notes its arguments."""

    def __init__(self, folder, experiment, monkeypatch):
        self.folder = folder
        self._experiment = experiment
        python = folder / "python"
        python.write_text(f'#!/bin/sh\n[ "$1" = -c ] || echo "$@" >{folder}/noted\n')
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    def run(self, *lines, step="echo the step runs; exit 9", **variables):
        """The exit code, the arguments of `batch_end` after the pack, and what was printed."""
        script = [
            *submit._batch_lines(self._experiment, self.folder / "none"),
            *submit._setup_lines(lines),
            step,
        ]
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
        )
        noted = (self.folder / "noted").read_text().split()
        assert noted[:2] == ["-m", "launcher.job.batch_end"]
        return done.returncode, noted[4:], done.stdout


@pytest.fixture
def setup(experiment, tmp_path, monkeypatch) -> Setup:
    return Setup(tmp_path, experiment, monkeypatch)


@pytest.mark.parametrize(
    ("lines", "status", "line"),
    [
        (["true", "module load no-such-module"], 127, "2"),
        (["false", "true"], 1, "1"),
        (["if true; then", "  false", "fi"], 1, "2"),
        (["export PYTHON=/elsewhere PACK=mine", "(exit 4)"], 4, "2"),
        (["set -e", "false"], 1, "2"),
        (["exit 3"], 3, "0"),
        (["f() { return 5; }", "f"], 5, "2"),
    ],
)
def test_a_setup_line_that_fails_ends_the_start(setup, lines, status, line):
    """The step does not run; which line it was is passed on, with its exit code."""
    assert setup.run(*lines) == (status, [str(status), line], "")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["false || true"],
        ["[ -d /no/folder ] && false"],
        ["if false; then", "  true", "fi"],
        ["f() { false; true; }", "f"],
        ["! true"],
    ],
)
def test_lines_that_may_fail_do_not(setup, lines):
    """As with `set -e`; what fails after the setup is no failure of it."""
    assert setup.run(*lines) == (9, ["9"], "the step runs\n")


def test_a_sourced_file_fails_with_its_last_line_only(setup, tmp_path):
    """Files of modules and of conda have lines that fail, and do not mind."""
    file = tmp_path / "it's sourced"
    file.write_text("false\ntrue\n")
    assert setup.run(f'. "{file}"')[0] == 9

    file.write_text("true\nfalse\n")
    assert setup.run("true", f'source "{file}"')[:2] == (1, ["1", "2"])

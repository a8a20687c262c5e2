"""The scheduler that the other tests in this folder rely on."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.slurm_sandbox.errors import CannotHereError, SandboxError
from scripts.slurm_sandbox.machine import HOSTS
from scripts.slurm_sandbox.release import TREES
from scripts.slurm_sandbox.sandbox import SCRIPT, Sandbox, sandbox_of_own
from scripts.workloads.processes import is_running

pytestmark = pytest.mark.slurm

LISTENER = """\
heard=$1
echo start ${SLURM_RESTART_COUNT:-0} >>$heard
[[ -z ${SLURM_RESTART_COUNT:-} ]] || exit 0
leave() { echo $1 >>$heard; scontrol requeue $SLURM_JOB_ID; }
trap 'leave TERM' TERM
trap 'leave USR2' USR2
while true; do sleep 0.1; done
"""


@pytest.fixture
def listener(tmp_path: Path) -> tuple[str, Path]:
    """A job that notes its starts and signals, requeues itself, and the file with its notes."""
    script, heard = tmp_path / "listener.sh", tmp_path / "heard"
    script.write_text(LISTENER)
    return f"srun bash {script} {heard}", heard


def test_second_up_changes_nothing(sandbox: Sandbox) -> None:
    """`up` on a sandbox that is up starts no process again."""
    before = pids(sandbox)

    sandbox.configure()

    assert pids(sandbox) == before


def test_status_names_a_dead_daemon(sandbox: Sandbox) -> None:
    """`status` fails, and says which daemon does not run."""
    sandbox.kill_slurmd("n2")

    command = [str(SCRIPT), "status", f"--folder={sandbox.folder}"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert "slurmd-n2    DOES NOT RUN" in done.stdout


def test_a_stopped_controller_comes_back_with_its_queue(sandbox: Sandbox) -> None:
    """Meanwhile nobody answers; the job runs on."""
    job = sandbox.submit("sleep 60")
    sandbox.wait_for(lambda: sandbox.state(job) == "RUNNING")

    sandbox.script("stop-slurmctld")
    with pytest.raises(SandboxError, match="DOWN"):
        sandbox.run("scontrol", "ping")
    sandbox.configure()

    assert sandbox.state(job) == "RUNNING"


def test_changed_options_keep_the_queue(sandbox: Sandbox) -> None:
    """A waiting and a running job outlive a restart of slurmctld."""
    waiting = sandbox.submit("true", "--hold")
    running = sandbox.submit("sleep 60")
    sandbox.wait_for(lambda: sandbox.state(running) == "RUNNING")
    before = pids(sandbox)

    sandbox.configure(max_array_size=11)

    assert pids(sandbox)["slurmctld"] != before["slurmctld"]
    assert sandbox.state(waiting) == "PENDING"
    assert sandbox.state(running) == "RUNNING"


@pytest.mark.parametrize(("gpus", "devices"), [(1, "0"), (4, "0,1,2,3")])
def test_job_has_gpus(sandbox: Sandbox, gpus: int, devices: str) -> None:
    """A job in the default partition finds its GPUs in CUDA_VISIBLE_DEVICES."""
    command = ["srun", f"--gres=gpu:{gpus}", "printenv", "SLURM_JOB_PARTITION"]

    assert sandbox.run(*command, "CUDA_VISIBLE_DEVICES").split() == ["preemptible", devices]


@pytest.mark.slow
@pytest.mark.parametrize(("user_signal", "first_word"), [(True, "USR2"), (False, "TERM")])
def test_preempted_job_is_requeued(
    sandbox: Sandbox, listener: tuple[str, Path], user_signal: bool, first_word: str
) -> None:
    """It hears the signal that the options promise, gives up its place, and starts again."""
    sandbox.configure(user_signal=user_signal)
    script, heard = listener
    job = sandbox.submit(script, "--signal=USR2@60", "--time=10")
    sandbox.wait_for(heard.exists)

    sandbox.preempt(job)
    sandbox.wait_for(lambda: "start 1" in heard.read_text())

    assert heard.read_text().split("\n")[:2] == ["start 0", first_word]
    assert int(sandbox.details(job)["Restarts"]) >= 1  # Slurm 24.11 requeues it at its end, too


@pytest.mark.slow
def test_qos_preempts(sandbox: Sandbox, listener: tuple[str, Path]) -> None:
    """With preemption by QOS, `high` takes the place of `low` in the same partition."""
    sandbox.configure(preempt_by="qos", grace=0)
    script, heard = listener
    low = sandbox.submit(script, "--qos=low", "--nodelist=n1", "--exclusive")
    sandbox.wait_for(heard.exists)

    high = sandbox.submit("sleep 1", "--qos=high", "--nodelist=n1", "--exclusive")

    sandbox.wait_for(lambda: sandbox.state(high) == "COMPLETED")
    sandbox.wait_for(lambda: sandbox.details(low)["Restarts"] == "1")


@pytest.mark.slow
def test_lost_node_leaves_its_task(sandbox: Sandbox, tmp_path: Path) -> None:
    """When slurmd dies, the job starts again elsewhere while its old task goes on."""
    sandbox.configure(slurmd_timeout=5)
    beats = tmp_path / "beats"
    script = f"while true; do echo $SLURM_RESTART_COUNT. >>{beats}; sleep 0.1; done"
    job = sandbox.submit(script, "--nodelist=n1,n2", "--nodes=2")
    sandbox.wait_for(beats.exists)

    sandbox.kill_slurmd("n1")
    sandbox.wait_for(lambda: sandbox.state(job) == "PENDING")
    num_beats = len(beats.read_text())
    sandbox.wait_for(lambda: len(beats.read_text()) > num_beats)

    sandbox.start_slurmd("n1")
    assert sandbox.run("srun", "--nodelist=n1", "printenv", "SLURMD_NODENAME") == "n1"


def test_without_accounting(sandbox: Sandbox) -> None:
    """No database runs, and sacct has nothing to say."""
    sandbox.configure(accounting=False)

    assert not {"mariadbd", "slurmdbd"} & set(pids(sandbox))
    assert sandbox.run("srun", "echo", "ran") == "ran"
    sacct = subprocess.run(["sacct"], capture_output=True, text=True)
    assert "accounting storage is disabled" in sacct.stderr


def test_with_accounting(sandbox: Sandbox) -> None:
    """Sacct knows a job that has ended."""
    job = sandbox.submit("true")

    sacct = ("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={job}")
    sandbox.wait_for(lambda: sandbox.run(*sacct, "--format=state") == "COMPLETED")


def test_array_size(sandbox: Sandbox) -> None:
    """The highest index of an array is one below the option."""
    sandbox.configure(max_array_size=11)

    assert sandbox.submit("true", "--array=0-10")
    refused = subprocess.run(
        ["sbatch", "--array=0-11", "--wrap", "true"], capture_output=True, text=True
    )
    assert "Invalid job array specification" in refused.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")  # skips it where there can be none
def test_down_ends_its_own_processes_only(tmp_path: Path) -> None:
    """Even a task without a slurmd goes, and a process with the number of an earlier one stays."""
    beats = tmp_path / "beats"
    with sandbox_of_own(accounting=False) as sandbox:
        sandbox.submit(f"trap '' TERM; echo $$ >{beats}; while true; do sleep 0.1; done")
        sandbox.wait_for(lambda: beats.exists() and beats.read_text())
        daemons = pids(sandbox)
        sandbox.kill_slurmd("n1")
        other = subprocess.Popen(["bash", "-c", "exec -a slurmd sleep 600"])
        os.kill(daemons["slurmd-n2"], signal.SIGKILL)
        record = sandbox.folder / "run" / "slurmd-n2.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": other.pid}))

        sandbox.script("down")

    try:
        left = [name for name, pid in daemons.items() if is_running(pid)]
        assert left == []
        assert not is_running(int(beats.read_text()))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_port_in_use(tmp_path: Path) -> None:
    """`up` names the port that something else has, and what to do; it leaves nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        base = server.getsockname()[1] - 17
        command = [
            str(SCRIPT),
            "up",
            "--no-accounting",
            f"--folder={tmp_path}",
            f"--port-base={base}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)

    assert processes_that_name(tmp_path) == []
    assert str(tmp_path) not in HOSTS.read_text()
    assert done.returncode == 1
    assert f"slurmctld needs port {base + 17}" in done.stderr
    assert "--port-base 20000" in done.stderr


def test_gpus_have_types(sandbox: Sandbox) -> None:
    """A job has those of the type that it asks for; the memory of a node may be unknown."""
    sandbox.configure(gpu_types="a100:1,v100:3", memory_mb=0)

    devices = sandbox.run("srun", "--gres=gpu:v100:3", "printenv", "CUDA_VISIBLE_DEVICES")

    assert devices == "1,2,3"
    assert sandbox.run("sinfo", "--noheader", "--format=%G %m") == "gpu:a100:1,gpu:v100:3 1"


def test_limits_of_a_qos(sandbox: Sandbox) -> None:
    """A job with more GPUs than the QOS has never starts, and Slurm says why."""
    sandbox.configure(limits=True)
    job = sandbox.submit("true", "--qos=capped", "--gres=gpu:3")

    reason = sandbox.wait_for(lambda: sandbox.details(job)["Reason"].removeprefix("None"))

    assert reason == "QOSMaxGRESPerJob"


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")  # skips it where there can be none
def test_another_release() -> None:
    """Its jobs run on this machine's file system, and speak to a Slurm of that release."""
    try:
        with sandbox_of_own(release="trixie", accounting=False) as sandbox:
            version = sandbox.run("srun", "scontrol", "--version")
            python = sandbox.run("srun", sys.executable, "--version")
            daemon = pids(sandbox)["slurmctld"]
            program = Path(f"/proc/{daemon}/exe").readlink()
    except CannotHereError as error:
        pytest.skip(str(error))

    assert version.startswith("slurm-wlm 24.11")
    assert python == f"Python {platform.python_version()}"
    assert program == TREES / "trixie" / "slurm" / "usr" / "sbin" / "slurmctld-wlm"


def processes_that_name(path: Path) -> list[str]:
    """The command lines in which it stands."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes().replace(b"\0", b" ").decode())
    return [line for line in lines if str(path) in line]


def pids(sandbox: Sandbox) -> dict[str, int]:
    """Of the daemons, as `status` says them."""
    lines = [line.split() for line in sandbox.script("status").splitlines()]
    return {words[0]: int(words[2]) for words in lines if words[1:2] == ["process"]}

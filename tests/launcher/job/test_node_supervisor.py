"""The supervisor with small programs in the place of trainers."""

import errno
import json
import os
import subprocess
import threading
import time

import pytest

from launcher import file_lock
from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import requeue_policy
from launcher.job.attempt_end import StopRequest
from launcher.job.machine import Machine
from launcher.job.member_process import MemberProcess
from launcher.job.node import ThisNode
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import Member, Pack, SlurmTerms, read_pack, write_pack
from launcher.job.slots import Slot, Slots
from launcher.job.stop_request import JobStop
from scripts.workloads.logs import json_lines
from scripts.workloads.processes import is_running
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, RunState, read_state, write_state

ONCE = RetriesConfig(crashed=0, out_of_memory=0)
TERMS = SlurmTerms(
    cluster="slurm",
    partition="preemptible",
    time_limit_s=3600,
    signal_lead_s=120,
    grace_s=8.0,
    may_requeue=True,
    accounting=True,
    parameters={},
)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class EventStop(JobStop):
    """Asked to stop by the test, which says why."""

    def __init__(self, grace_s):
        self.event = threading.Event()
        self._grace_s = grace_s

    def is_requested(self):
        return self.event.is_set()

    def request(self):
        return StopRequest(cause=Cause.PREEMPTED, reason="preempted (SIGTERM)")

    def grace_s(self):
        return self._grace_s


class Node:
    """One pack on one machine; supervised in a thread, as a job would do it in a process.

    Args:
        commands: By run; argument lists, or shell scripts that find the run's folder in $0.
        gpus_of_node: What is special about the GPUs, by the names of `Machine`.
    """

    def __init__(
        self,
        folder,
        commands,
        *,
        num_cores=1,
        machine_gpus=(),
        gpus_of_node=None,
        grace_s=60.0,
        retries=ONCE,
        slurm=None,
        disk=None,
        **sizes,
    ):
        self.experiment = ExperimentFolder((disk or folder) / "experiment")
        self.pack_folder = self.experiment.pack("pack-0000")
        self._commands = commands
        for name in commands:
            run = self.experiment.run(name)
            run.path.mkdir(parents=True)
            state = RunState(status="submitted", iteration=3, pack="pack-0000")
            write_state(run, state)
        self._stop = EventStop(grace_s)
        kind = gpus_of_node or {}
        machine = Machine(gpus=machine_gpus, cores=tuple(range(num_cores)), **kind)
        pack = Pack(
            members=tuple(
                Member(name=name, retries=retries, **{"gpus": 0, "cpus": 1, **sizes})
                for name in commands
            ),
            machine=machine,
            grace_s=grace_s,
            slurm=slurm,
        )
        slots_folder = folder / "slots"
        slots_folder.mkdir()
        slots = Slots(machine, slots_folder)
        self.supervisor = NodeSupervisor(
            self.pack_folder,
            pack,
            slots,
            node=ThisNode(name="here", job="12_3"),
            stop=self._stop,
            command=self._command,
        )
        self.close_timeout_s = 10
        self._thread = threading.Thread(target=self._supervise)

    def _supervise(self):
        self.supervisor.run()
        self.supervisor.close_records(self.close_timeout_s)

    def _command(self, run, attempt, owner):
        program = self._commands[run.name]
        return program if isinstance(program, list) else ["/bin/sh", "-c", program, str(run.path)]

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.event.set()
        self.wait()

    def wait(self):
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def run(self):
        self.start()
        self.wait()

    def state(self, name):
        return read_state(self.experiment.run(name))

    def events(self, name):
        return json_lines(self.experiment.run(name).events)

    def wait_for_log(self, name):
        """Until the first attempt has printed something."""
        log = self.experiment.run(name).log(0)
        while not (log.exists() and log.read_bytes()):
            time.sleep(0.02)


@pytest.fixture
def make_node(tmp_path):
    return lambda commands, **options: Node(tmp_path, commands, **options)


@pytest.mark.parametrize(
    ("command", "status", "attempts", "reason"),
    [
        ("exit 0", "finished", {"finished": 1}, ""),
        ("exit 75", "waiting", {"preempted": 1}, "stopped after a checkpoint"),
        ("kill -TERM $$", "waiting", {"preempted": 1}, "stopped while it was starting"),
        ("kill -KILL $$", "failed", {"crashed": 1}, "killed by SIGKILL: out of memory"),
        ("exit 4", "failed", {"out_of_memory": 1}, "its log"),
        ("kill -SEGV $$", "failed", {"crashed": 1}, "ended by signal 11 (Segmentation fault)"),
        (
            "echo bad; echo worse >&2; exit 1",
            "failed",
            {"crashed": 1},
            "attempt-000.rank-0.log:\nbad\nworse",
        ),
        ("exit 2", "failed", {"crashed": 1}, "exit code 2; its log"),
    ],
)
def test_the_end_of_an_attempt_is_recorded(make_node, command, status, attempts, reason):
    """Exit status becomes cause, status and reason; the iteration stays."""
    node = make_node({"run": command})

    node.run()

    state = node.state("run")
    assert (state.status, state.attempts, state.iteration) == (status, attempts, 3)
    assert reason in state.reason
    assert [event["event"] for event in node.events("run")] == ["launched", "ended"]


@pytest.mark.parametrize("end", ["exit 8", "kill -ALRM $$"])
def test_a_run_that_hung_is_tried_again(make_node, end):
    """By exit code, or by the signal that ends a process whose interpreter cannot run."""
    node = make_node({"run": f"mkdir $0/once && {end}; exit 0"}, retries=RetriesConfig())

    node.run()

    state = node.state("run")
    assert (state.status, state.attempts) == ("finished", {"hang": 1, "finished": 1})


def test_what_the_trainer_wrote_stays(make_node):
    """Iteration and reason are the trainer's own; the supervisor adds the attempt."""
    written = json.dumps(
        {"status": "failed", "iteration": 9, "reason": "no data", "pack": "pack-0000"}
    )
    node = make_node({"run": f"echo '{written}' > $0/state.json; exit 1"})

    node.run()

    state = node.state("run")
    assert (state.status, state.iteration, state.reason) == ("failed", 9, "no data")
    assert state.attempts == {"crashed": 1}


def test_never_more_runs_than_slots(make_node):
    """Members wait for a slot, and one's failure is its own."""
    command = "echo; sleep 0.1; ls $0/.. | while read r; do cat $0/../$r/state.json; done; exit 1"
    node = make_node(dict.fromkeys("abcd", command), num_cores=2)

    node.run()

    for name in "abcd":
        log = node.experiment.run(name).log(0).read_text()
        assert 1 <= log.count('"status": "running"') <= 2
        assert node.state(name).status == "failed"


def test_a_member_has_its_slot_for_itself(make_node):
    """It runs on its cores, with so many threads, no GPU, and in a session of its own."""
    show = (
        "echo $CUDA_VISIBLE_DEVICES/$OMP_NUM_THREADS/$PYTHONSAFEPATH; taskset -cp $$; ps -o sid= $$"
    )
    node = make_node({"run": f"{show}; echo $$"})

    node.run()

    values, cores, session, pid = node.experiment.run("run").log(0).read_text().splitlines()
    assert values == "/1/1"
    assert cores.endswith("list: 0")
    assert session.strip() == pid


def test_a_member_has_its_gpu_by_one_variable(make_node, monkeypatch):
    """That of its vendor: on AMD, the numbers in another one would count what this one leaves."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "4,5")
    kind = {"gpu_variable": "ROCR_VISIBLE_DEVICES"}
    node = make_node(
        {"run": "env | grep VISIBLE_DEVICES"}, machine_gpus=("4", "5"), gpus_of_node=kind, gpus=1
    )

    node.run()

    assert node.experiment.run("run").log(0).read_text() == "ROCR_VISIBLE_DEVICES=4\n"


def test_gpus_that_take_one_process_are_not_shared(make_node):
    """Shares of one run one after the other, and the events of the job say why, once."""
    alone = 'mkdir "$0/../../in-use" || exit 1; sleep 0.1; rmdir "$0/../../in-use"'
    node = make_node(
        dict.fromkeys("abc", alone),
        num_cores=4,
        machine_gpus=("0",),
        gpus_of_node={"shares_gpus": False},
        gpus=0.25,
    )
    node.pack_folder.path.mkdir(parents=True)

    node.run()

    assert [node.state(name).status for name in "abc"] == ["finished"] * 3
    wait_until(node.pack_folder.events.exists)
    (said,) = json_lines(node.pack_folder.events)
    assert said["event"] == "not shared"
    assert "compute mode EXCLUSIVE_PROCESS" in said["reason"]
    events = json_lines(node.experiment.run("a").events)
    assert [event["share"] for event in events if event["event"] == "launched"] == [1]


def test_a_stopped_supervisor_stops_its_members(make_node):
    """They are told to checkpoint and go; those that wait are not started."""
    node = make_node({"first": "trap 'exit 75' TERM; echo up; sleep 60 & wait", "second": "exit 0"})
    node.start()
    node.wait_for_log("first")

    node.stop()

    assert (node.state("first").status, node.state("first").attempts) == (
        "waiting",
        {"preempted": 1},
    )
    assert (node.state("second").status, node.state("second").attempts) == ("submitted", {})


def test_a_member_that_does_not_stop_is_killed(make_node):
    """After its grace, and that is no crash."""
    node = make_node({"run": "trap '' TERM; echo up; sleep 60"}, grace_s=0.3)
    node.start()
    node.wait_for_log("run")

    node.stop()

    state = node.state("run")
    assert (state.status, state.attempts) == ("waiting", {"preempted": 1})
    assert "killed: still running 0.3 s after it was asked to stop" in state.reason


def test_a_process_that_has_just_ended_can_be_asked_to_stop(tmp_path):
    """It has ended all the same, and its exit status is not lost."""
    process = MemberProcess(
        ["/bin/sh", "-c", "exit 7"],
        slot=Slot(machine=Machine(cores=()), gpus=(), cores=(), descriptors=()),
        gpus=(),
        cpus=1,
        log=tmp_path / "logs" / "log",
        environment={},
    )
    while not process.has_ended():
        time.sleep(0.01)

    process.ask_to_stop(0.0)

    assert process.has_ended()
    assert process.clean_up() == 7


def test_a_request_to_cancel_ends_a_member(make_node):
    """Running ones are told to stop, waiting ones never start, the others go on."""
    wait = "trap 'exit 75' TERM; echo up; sleep 60 & wait"
    node = make_node({"first": wait, "second": "exit 0", "third": "exit 0"})
    node.start()
    node.wait_for_log("first")

    for name in ("second", "first"):
        node.experiment.run(name).cancel_request.touch()
    node.wait()

    assert (node.state("first").status, node.state("first").attempts) == (
        "cancelled",
        {"cancelled": 1},
    )
    assert (node.state("second").status, node.state("second").attempts) == ("cancelled", {})
    assert node.state("third").status == "finished"


def test_nothing_that_a_member_started_outlives_it(make_node, tmp_path):
    """The rest of its process group is killed."""
    node = make_node({"run": "sleep 60 & echo $!; exit 0"})

    node.run()

    left_behind = int(node.experiment.run("run").log(0).read_text())
    deadline = time.monotonic() + 5
    while is_running(left_behind) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(left_behind)


def test_a_run_of_a_later_pack_is_left_alone(make_node):
    """A run that was submitted again belongs to the newer job."""
    node = make_node({"run": "exit 0"})
    state = RunState(status="submitted", pack="pack-0001")
    write_state(node.experiment.run("run"), state)

    node.run()

    assert node.state("run") == state


def test_a_run_that_somebody_else_trains_is_left_alone(make_node):
    """Exit status 3 says so; its state is theirs."""
    node = make_node({"run": "exit 3"})

    node.run()

    assert (node.state("run").status, node.state("run").attempts) == ("running", {})


def test_an_unreadable_state_harms_no_other_member(make_node):
    """The run is left out, the next one is started."""
    node = make_node({"first": "exit 0", "second": "exit 0"})
    node.experiment.run("first").state.write_text("{")

    node.run()

    assert node.state("second").status == "finished"


def test_a_second_attempt_has_a_log_of_its_own(make_node):
    """Attempts are numbered by those that have ended."""
    node = make_node({"run": "echo hello"})
    state = RunState(status="submitted", pack="pack-0000", attempts={"preempted": 1})
    write_state(node.experiment.run("run"), state)

    node.run()

    assert node.experiment.run("run").log(1).read_text() == "hello\n"


def test_a_program_that_does_not_exist_fails_its_run(make_node):
    """The reason names it, and the slot is free again."""
    node = make_node({"first": ["/no/such/program"], "second": "exit 0"})

    node.run()

    assert node.state("first").reason.startswith("/no/such/program could not be started")
    assert node.state("second").status == "finished"


def test_a_run_whose_folder_is_away_as_it_is_started_is_tried_again(make_node, monkeypatch):
    """Its log cannot be created, because a folder is missing for now."""
    monkeypatch.setattr(requeue_policy, "_AWAY_DELAY_S", 0.1)
    node = make_node({"run": "exit 0"})
    run = node.experiment.run("run")
    run.logs.mkdir()
    run.log(0).symlink_to(run.path / "away" / "log")

    node.run()

    assert node.state("run").attempts == {"unavailable": 1, "finished": 1}


def test_a_crash_is_tried_again_within_its_budget(make_node):
    """Two retries mean three attempts; then the run is given up, with the reason."""
    node = make_node({"run": "exit 1", "other": "exit 0"}, retries=RetriesConfig(crashed=2))

    node.run()

    state = node.state("run")
    assert (state.status, state.attempts) == ("failed", {"crashed": 3})
    assert state.reason.startswith("given up: crashed 3 times, and retries.crashed is 2. The last")
    assert [event["attempt"] for event in node.events("run") if event["event"] == "launched"] == [
        0,
        1,
        2,
    ]
    assert node.state("other").status == "finished"


def test_a_run_that_gains_nothing_is_given_up(make_node):
    """Whatever the budgets of the causes; a newer checkpoint starts the count anew."""
    retries = RetriesConfig(crashed=None, without_progress=2)
    saves = 'sed -i \'s/"saved_iteration": 0/"saved_iteration": 5/\' $0/state.json; exit 1'
    node = make_node({"idle": "exit 1", "saves": saves}, retries=retries)

    node.run()

    assert node.state("idle").attempts == {"crashed": 2}
    assert "2 attempts in a row saved no iteration after 0" in node.state("idle").reason
    assert node.state("saves").attempts == {"crashed": 3}


def test_what_cannot_be_used_is_not_tried_again(make_node):
    """A config that is refused once is refused again."""
    node = make_node({"run": "exit 2"}, retries=RetriesConfig(crashed=None))

    node.run()

    assert (node.state("run").status, node.state("run").attempts) == ("failed", {"crashed": 1})


def test_a_member_of_a_job_that_comes_back_is_started_again(make_node):
    """It was stopped alone, by whoever; the budget for that is endless unless the config says."""
    command = "[ -e $0/was-here ] && exit 0; touch $0/was-here; exit 75"
    node = make_node({"run": command}, slurm=TERMS)

    node.run()

    assert node.state("run").attempts == {"preempted": 1, "finished": 1}


def test_a_requeued_job_starts_no_member_that_is_over(make_node):
    """Only those that were submitted, or wait."""
    over = ("finished", "failed", "cancelled")
    node = make_node(dict.fromkeys([*over, "waiting"], "exit 0"))
    for status in (*over, "waiting"):
        state = RunState(status=status, pack="pack-0000", attempts={"crashed": 1})
        write_state(node.experiment.run(status), state)

    node.run()

    assert not any(node.experiment.run(status).events.exists() for status in over)
    assert node.state("waiting").attempts == {"crashed": 1, "finished": 1}


def test_a_member_with_several_gpus_has_a_rank_on_each(make_node):
    """One process per GPU, which sees that one alone, with its part of the cores."""
    show = "echo $RANK/$WORLD_SIZE/$LOCAL_RANK/$LOCAL_WORLD_SIZE/$OMP_NUM_THREADS"
    node = make_node({"run": show}, num_cores=4, gpus=2, cpus=4)

    node.run()

    run = node.experiment.run("run")
    assert [run.log(0, rank).read_text() for rank in (0, 1)] == ["0/2/0/2/2\n", "1/2/1/2/2\n"]
    assert node.state("run").attempts == {"finished": 1}


def test_a_lost_rank_ends_the_others(make_node, monkeypatch):
    """They cannot go on; the attempt is judged by the rank that failed by itself."""
    monkeypatch.setattr("launcher.job.member_ranks.RANK_LOSS_TIMEOUT_S", 0.2)
    node = make_node({"run": "[ $RANK = 0 ] && sleep 60; echo lost; exit 1"}, gpus=2)

    node.run()

    state = node.state("run")
    assert (state.status, state.attempts) == ("failed", {"crashed": 1})
    assert "attempt-000.rank-1.log:\nlost" in state.reason


def test_a_trainer_hears_of_the_death_of_its_supervisor(tmp_path):
    """It is told whose death to heed."""
    script = "echo $LAUNCH_SUPERVISOR_PID"
    node = Node(tmp_path, {"run": script})

    node.run()

    assert int(node.experiment.run("run").log(0).read_text()) == os.getpid()


def test_a_run_that_is_locked_waits_alone(make_node, monkeypatch):
    """Whoever holds the lock of one run delays that run only."""
    monkeypatch.setattr("launcher.job.bookkeeping._LOCK_TIMEOUT_S", 0.05)
    node = make_node({"locked": "exit 0", "free": "exit 0"}, num_cores=2)
    with file_lock.hold(node.experiment.run("locked").state_lock):
        node.start()
        wait_until(lambda: node.state("free").status == "finished")
        assert node.state("locked").status == "submitted"
    node.wait()

    assert node.state("locked").status == "finished"


def test_a_submission_holds_up_no_job(make_node):
    """Its lock is its own, however long Slurm takes to accept the jobs."""
    node = make_node({"run": "exit 0"})

    with file_lock.hold(node.experiment.lock):
        node.run()

    assert node.state("run").status == "finished"


def test_a_run_that_the_node_cannot_hold_goes_elsewhere(make_node):
    """At once, and with the reason, where it would wait for a slot until the time limit."""
    node = make_node({"run": "exit 0"}, machine_gpus=("0", "1", "2"), gpus=4, slurm=TERMS)

    node.run()

    state = node.state("run")
    assert (state.status, state.attempts) == ("waiting", {"node_failure": 1})
    assert state.reason == "here has 3 GPUs to give, and the run needs 4"
    assert node.supervisor.queue.wants_another_node


def test_no_node_is_looked_for_for_a_cancelled_run(make_node):
    """It ends as cancelled where it would not have fitted."""
    node = make_node({"run": "exit 0"}, machine_gpus=("0", "1", "2"), gpus=4, slurm=TERMS)
    node.experiment.run("run").cancel_request.touch()

    node.run()

    assert node.state("run").status == "cancelled"
    assert not node.supervisor.queue.wants_another_node


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk):
    """Until not a byte more fits."""
    with pytest.raises(OSError, match="No space"), (disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_delays_what_is_recorded(make_node, small_disk, tmp_path):
    """The neighbors go on, and once there is room each end is counted, once and in order."""
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.02; done"
    commands = {"first": f"echo; {wait}; exit 0", "other": f"echo; {wait}; sleep 0.5; exit 0"}
    node = make_node(commands, num_cores=2, disk=small_disk)
    node.start()
    for name in commands:
        node.wait_for_log(name)
    fill(small_disk)
    go.touch()
    wait_until(lambda: len(node.supervisor.queue.unrecorded) == 2)
    (small_disk / "full").unlink()
    node.wait()

    for name in commands:
        assert (node.state(name).status, node.state(name).attempts) == ("finished", {"finished": 1})
        assert [event["event"] for event in node.events(name)] == ["launched", "ended"]


@pytest.mark.parametrize(
    "refusal", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), LockHeldError("locked")]
)
def test_a_slot_that_is_refused_for_now_is_asked_for_again(make_node, monkeypatch, refusal):
    """A /tmp that is full, say, costs no member that trains already."""
    waits = "until [ -e $0/../second/logs ]; do sleep 0.05; done"
    node = make_node({"first": waits, "second": "exit 0"}, num_cores=2)
    take, calls = Slots.take, []

    def refuse_once(*arguments, **sizes):
        calls.append(sizes)
        if len(calls) == 2:
            raise refusal
        return take(*arguments, **sizes)

    monkeypatch.setattr(Slots, "take", refuse_once)

    node.run()

    assert [node.state(name).status for name in ("first", "second")] == ["finished"] * 2


def test_a_full_disk_does_not_hold_up_a_stop(make_node, small_disk):
    """The supervisor returns within the grace, and knows of which run the end is not recorded."""
    node = make_node({"run": "echo; sleep 60"}, disk=small_disk, grace_s=1.0, slurm=TERMS)
    node.close_timeout_s = 0
    node.start()
    node.wait_for_log("run")
    fill(small_disk)

    node.stop()

    assert node.supervisor.queue.unrecorded == {"run"}
    assert node.state("run").status == "running"


def test_a_pack_survives_the_disk(tmp_path):
    """What was written is what is read."""
    folder = ExperimentFolder(tmp_path).pack("pack-0000")
    folder.path.mkdir(parents=True)
    pack = Pack(
        members=(
            Member(name="a", gpus=0.5, cpus=2, planned_gpus=((1,),)),
            Member(name="b", gpus=2, cpus=2, nodes=(0, 1), planned_gpus=((0, 1), (2, 3))),
        ),
        machine=Machine(gpus=("GPU-1",), cores=(0, 1)),
        grace_s=2.5,
        num_nodes=2,
        slurm=TERMS,
    )

    write_pack(folder, pack)

    assert read_pack(folder) == pack

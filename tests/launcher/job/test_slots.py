import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.job import memory
from launcher.job import slots_folder as places
from launcher.job.machine import Machine
from launcher.job.slots import Slots
from launcher.job.slots_folder import claims_of_others, slots_folder
from launcher.packing.demand import GPU

FIRST, SECOND = (
    "GPU-aaaa1111-0000-0000-0000-000000000000",
    "GPU-bbbb2222-0000-0000-0000-000000000000",
)


def test_runs_get_cores_of_their_own_where_there_is_no_gpu(tmp_path):
    """Cores are given once, and again after they were given back; GPUs are not asked for."""
    slots = Slots(Machine(cores=(0, 1, 2, 3)), tmp_path)

    first, second = slots.take(gpus=1, cpus=2), slots.take(gpus=1, cpus=2)

    assert (first.cores, first.gpus) == ((0, 1), ())
    assert second.cores == (2, 3)
    assert slots.take(gpus=0, cpus=1) is None
    first.close()
    assert slots.take(gpus=0, cpus=1).cores == (0,)


def test_too_few_free_cores_are_not_held_back(tmp_path):
    """A large run that has to wait takes nothing away from a small one."""
    slots = Slots(Machine(cores=(0, 1, 2)), tmp_path)
    slots.take(gpus=0, cpus=2)

    assert slots.take(gpus=0, cpus=2) is None
    assert slots.take(gpus=0, cpus=1).cores == (2,)


def test_a_run_that_is_too_large_has_the_machine_for_itself(tmp_path):
    """More cores than there are means all of them."""
    slots = Slots(Machine(cores=(0, 1)), tmp_path)

    assert slots.take(gpus=0, cpus=16).cores == (0, 1)
    assert slots.take(gpus=0, cpus=1) is None


def test_runs_get_gpus_and_the_cores_beside_them(tmp_path):
    """Those of a GPU's share of the cores first, whichever are free; never more than asked for."""
    machine = Machine(gpus=(FIRST, SECOND), cores=(0, 1, 2, 3, 4, 5))
    slots = Slots(machine, tmp_path)

    first, second = slots.take(gpus=1, cpus=2), slots.take(gpus=1, cpus=4)

    assert (first.gpus, first.cores) == ((FIRST,), (0, 1))
    assert (second.gpus, second.cores) == ((SECOND,), (2, 3, 4, 5))
    assert slots.take(gpus=1, cpus=1) is None


def test_no_more_cores_than_there_are(tmp_path):
    """A free GPU is of no use to a run whose cores are taken."""
    slots = Slots(Machine(gpus=(FIRST, SECOND), cores=(0, 1, 2, 3)), tmp_path)
    slots.take(gpus=1, cpus=3)

    assert slots.take(gpus=1, cpus=2) is None
    assert slots.take(gpus=1, cpus=1).gpus == (SECOND,)


def test_shares_fill_a_gpu(tmp_path):
    """Shares go beside shares while they add up to one, and never beside a whole GPU's run."""
    slots = Slots(Machine(gpus=(FIRST, SECOND), cores=tuple(range(16))), tmp_path)

    shares = [slots.take(gpus=share, cpus=1).gpus for share in (0.1, 0.2, 0.7)]

    assert shares == [(FIRST,)] * 3
    assert slots.take(gpus=1, cpus=1).gpus == (SECOND,)
    assert slots.take(gpus=0.1, cpus=1) is None


def test_planned_gpus_are_preferred(tmp_path):
    """A run gets the GPU that it was planned on if that has room, and another one if not."""
    slots = Slots(Machine(gpus=(FIRST, SECOND), cores=tuple(range(4))), tmp_path)

    assert slots.take(gpus=1, cpus=1, planned=(1,)).gpus == (SECOND,)
    assert slots.take(gpus=1, cpus=1, planned=(1,)).gpus == (FIRST,)


def test_memory_is_given_once(tmp_path):
    """Where the machine's is known."""
    slots = Slots(Machine(cores=(0, 1), memory_gb=8.0), tmp_path)
    slots.take(gpus=0, cpus=1, memory_gb=6.0)

    assert slots.take(gpus=0, cpus=1, memory_gb=2.5) is None
    assert slots.take(gpus=0, cpus=1, memory_gb=2.0) is not None


def test_cores_that_are_only_counted(tmp_path):
    """They run out like others, but nobody is told to run on them."""
    slots = Slots(Machine(cores=(0, 1), is_pinned=False), tmp_path)

    assert slots.take(gpus=0, cpus=2).cores == ()
    assert slots.take(gpus=0, cpus=1) is None


def test_slots_are_shared_by_all_supervisors(tmp_path):
    """What one supervisor has taken, another one does not get, whatever size it asks for."""
    machine = Machine(cores=(0, 1))
    slot = Slots(machine, tmp_path).take(gpus=0, cpus=1)

    other = Slots(machine, tmp_path)

    assert other.take(gpus=0, cpus=2) is None
    assert other.take(gpus=0, cpus=1).cores == (1,)
    slot.close()


def test_a_slot_lasts_as_long_as_the_process_that_inherited_it(tmp_path):
    """The supervisor's end does not free the slot of a run that lives on."""
    slots = Slots(Machine(cores=(0,)), tmp_path)
    slot = slots.take(gpus=0, cpus=1)
    run = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=slot.descriptors
    )

    slot.close()

    assert slots.take(gpus=0, cpus=1) is None
    run.communicate(b"\n")
    assert slots.take(gpus=0, cpus=1) is not None


def test_how_many_runs_have_memory_at_once():
    """By what each asks for; one that asks for more than there is goes alone."""
    machine = Machine(gpus=(FIRST, SECOND), cores=(0, 1, 2, 3), memory_gb=20.0)

    asked = (4.0, 8.0, 10.0, 64.0)
    counts = [machine.max_runs(gpus=0.5, cpus=1, memory_gb=each) for each in asked]
    assert counts == [4, 2, 2, 1]


def test_the_memory_of_a_machine_is_known(monkeypatch, tmp_path):
    """What it has, or the least that a cgroup above this process allows."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "memory_cgroup", lambda: None)
    whole = memory.machine_memory_gb()
    monkeypatch.setattr(memory, "memory_cgroup", lambda: tmp_path / "a" / "b")
    assert memory.machine_memory_gb() == whole > 0

    (tmp_path / "a" / "memory.max").write_text(f"{2**28}\n")
    assert memory.machine_memory_gb() == 0.2


@pytest.mark.parametrize(
    ("gpus", "cores", "size", "expected"),
    [
        ((FIRST, SECOND), (0, 1), {"gpus": 1, "cpus": 8}, 1),
        ((FIRST, SECOND), (0, 1), {"gpus": 1, "cpus": 1}, 2),
        ((FIRST,), (0, 1, 2, 3), {"gpus": 0.5, "cpus": 1}, 2),
        ((FIRST, SECOND), (0, 1), {"gpus": 2, "cpus": 1}, 1),
        ((FIRST, SECOND), (0, 1, 2), {"gpus": 0, "cpus": 1}, 3),
        ((), (0, 1, 2, 3, 4), {"gpus": 4, "cpus": 2}, 2),
        ((), (0,), {"gpus": 0, "cpus": 2}, 1),
    ],
)
def test_how_many_runs_go_on_at_once(gpus, cores, size, expected):
    """As many as the GPUs allow; without GPUs, as the cores allow, and one at least."""
    assert Machine(gpus=gpus, cores=cores).max_runs(**size) == expected


def test_a_chosen_folder_of_the_locks_is_private(tmp_path, monkeypatch):
    """Nobody else can take slots away; a folder of somebody else's is refused."""
    folder = tmp_path / "slots"
    monkeypatch.setenv("LAUNCH_SLOTS_DIR", str(folder))
    assert slots_folder().stat().st_mode & 0o777 == 0o700

    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(LauncherError, match="belongs to another user"):
        slots_folder()


def test_faulty_gpus_are_taken_last(tmp_path):
    """Not even a plan makes a run prefer one on which another has failed."""
    slots = Slots(Machine(gpus=(FIRST, SECOND), cores=tuple(range(4))), tmp_path)

    assert slots.take(gpus=1, cpus=1, planned=(0,), avoided={FIRST}).gpus == (SECOND,)
    assert slots.take(gpus=1, cpus=1, planned=(0,), avoided={FIRST}).gpus == (FIRST,)


@pytest.mark.parametrize("gone", ["the files", "the folder"])
def test_a_cleaned_folder_gives_no_slot_twice(tmp_path, gone):
    """What living processes hold stays taken, whatever removes the files: /tmp is cleaned."""
    folder = tmp_path / "slots"
    folder.mkdir()
    machine = Machine(cores=(0, 1, 2))
    slots = Slots(machine, folder)
    of_a_run, of_the_supervisor = slots.take(gpus=0, cpus=1), slots.take(gpus=0, cpus=1)
    run = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=of_a_run.descriptors
    )
    of_a_run.close()

    for path in folder.iterdir():
        path.unlink()
    if gone == "the folder":
        folder.rmdir()

    other = Slots(machine, folder)
    assert other.take(gpus=0, cpus=2) is None
    assert other.take(gpus=0, cpus=1).cores == (2,)
    run.communicate(b"\n")
    of_the_supervisor.close()


def test_a_gpu_that_takes_one_process_is_not_shared(tmp_path):
    """A share is all of it: the next run takes another GPU, or waits."""
    machine = Machine(gpus=(FIRST, SECOND), cores=tuple(range(4)), shares_gpus=False)
    slots = Slots(machine, tmp_path)

    first, second = (slots.take(gpus=0.25, cpus=1, planned=(0,)) for _ in range(2))

    assert (first.gpus, second.gpus) == ((FIRST,), (SECOND,))
    assert slots.take(gpus=0.25, cpus=1, planned=(0,)) is None
    assert machine.max_runs(gpus=0.25, cpus=1) == 2
    first.close()
    assert slots.take(gpus=0.25, cpus=1).gpus == (FIRST,)


@pytest.mark.parametrize(
    ("gpus", "owes_gpus", "size", "expected"),
    [
        ((FIRST,), True, 2, True),
        ((FIRST,), True, 1, False),
        ((FIRST,), True, 0.5, False),
        ((), True, 1, True),
        ((), True, 0.5, True),
        ((), True, 0, False),
        ((), False, 1, False),
        ((FIRST,), False, 2, True),
    ],
)
def test_which_runs_have_too_few_gpus(tmp_path, gpus, owes_gpus, size, expected):
    """A machine of one's own without a GPU lets runs use the CPU; a job of Slurm owes them GPUs."""
    slots = Slots(Machine(gpus=gpus, cores=(0,), owes_gpus=owes_gpus), tmp_path)

    assert slots.lacks_gpus(size) == expected


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The last resort of `slots_folder`; both of the others are named after the user."""
    monkeypatch.delenv("LAUNCH_SLOTS_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(places, "_BASES", (tmp_path / "tmp", tmp_path / "shm"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "shm").mkdir()
    return tmp_path


def test_the_folder_does_not_depend_on_tmpdir(home, monkeypatch):
    """Two shells with different TMPDIR share the slots of their machine."""
    monkeypatch.setenv("TMPDIR", str(home))

    assert slots_folder("7-n1") == home / "tmp" / f"launch-slots-{os.getuid()}" / "7-n1"


@pytest.mark.parametrize("planted", ["a link", "somebody else's folder"])
def test_a_planted_folder_is_not_used(home, planted):
    """Anybody can make a name in /tmp: the next place is taken."""
    target = home / "tmp" / f"launch-slots-{os.getuid()}"
    if planted == "a link":
        (home / "trap").mkdir()
        target.symlink_to(home / "trap")
    else:
        target.mkdir()
        try:
            os.chown(target, 54321, 54321)
        except PermissionError:
            pytest.skip("only root can give a folder away")

    assert slots_folder() == home / "shm" / target.name


def test_an_open_folder_is_closed(home):
    """One of this user that others can write to, as after a careless umask."""
    folder = home / "tmp" / f"launch-slots-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)

    assert slots_folder().stat().st_mode & 0o777 == 0o755


def test_dead_temporary_folders_are_named(home, monkeypatch):
    """Where no place can be used, one sentence says which were tried, and what to do."""
    (home / "tmp").rmdir()
    (home / "shm").rmdir()
    (home / "tmp").touch()
    (home / "shm").touch()
    monkeypatch.delenv("HOME")

    named = r"tmp.* \(Not a directory\), nor in .*LAUNCH_SLOTS_DIR"
    with pytest.raises(LauncherError, match=named):
        slots_folder()


@pytest.mark.parametrize("written", [0, 10])
def test_a_claim_that_finds_no_room_is_no_slot(tmp_path, monkeypatch, written):
    """All of the machine is free for the next one to ask."""
    slots, write = Slots(Machine(cores=(0, 1)), tmp_path), os.write

    def write_part(descriptor, content):
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[:written])

    monkeypatch.setattr(os, "write", write_part)
    with pytest.raises(OSError, match="No space left"):
        slots.take(gpus=0, cpus=2)
    monkeypatch.undo()

    assert slots.take(gpus=0, cpus=2) is not None


TAKE_AS = """
import os, pathlib, sys
from launcher.job import slots_folder as places
from launcher.job.machine import Machine
from launcher.job.slots import Slots
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
os.umask(0o077)
places._BASES = (pathlib.Path(sys.argv[2]),)
slots = Slots(Machine(cores=(0, 1, 2), memory_gb=8.0), places.slots_folder())
slot = slots.take(gpus=0, cpus=1, memory_gb=6.0)
print(slot.cores[0], flush=True)
input()
"""


@pytest.fixture
def everybodys(home, monkeypatch):
    """A folder like /tmp, which the users 54321 and 54322 can reach."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    for folder in (home, *home.parents[:-2]):  # below /tmp, pytest makes them private
        folder.chmod(folder.stat().st_mode | 0o011)
    (home / "tmp").chmod(0o1777)
    return home / "tmp"


def test_users_see_the_slots_of_each_other(everybodys):
    """Cores and memory of one machine are given once, whatever the umask; and given back."""
    other = subprocess.Popen(
        [sys.executable, "-c", TAKE_AS, "54321", str(everybodys)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "0\n"
    slots = Slots(Machine(cores=(0, 1, 2), memory_gb=8.0), slots_folder(), others=claims_of_others)

    assert slots.take(gpus=0, cpus=3, memory_gb=1.0) is None
    assert slots.take(gpus=0, cpus=1, memory_gb=3.0) is None
    assert slots.take(gpus=0, cpus=2, memory_gb=2.0).cores == (1, 2)
    other.communicate("\n")
    assert slots.take(gpus=0, cpus=1, memory_gb=6.0).cores == (0,)


def test_two_users_who_take_at_once_give_back(tmp_path):
    """What appears while a slot is taken may be the same cores: the next try sees it."""
    claims = iter([[], ['{"gpus": [], "share": 3600, "cores": [0], "memory_gb": 1}'], []])
    slots = Slots(Machine(cores=(0, 1)), tmp_path, others=lambda: next(claims, []))

    assert slots.take(gpus=0, cpus=1) is None
    assert slots.take(gpus=0, cpus=2).cores == (0, 1)


def test_another_user_looks_at_a_new_slot(tmp_path, monkeypatch):
    """Before it is locked: it is not taken, and the next try is a new one."""
    slots, opened, looks = Slots(Machine(cores=(0, 1)), tmp_path), file_lock._open, []

    def open_and_be_seen(path):
        descriptor = opened(path)
        if path.name.startswith("slot-"):
            looks.append(os.open(path, os.O_RDONLY))
            assert not file_lock.is_taken(looks[-1])
        return descriptor

    monkeypatch.setattr(file_lock, "_open", open_and_be_seen)
    assert slots.take(gpus=0, cpus=2) is None
    monkeypatch.undo()

    assert slots.take(gpus=0, cpus=2).cores == (0, 1)
    for look in looks:
        os.close(look)


def a_claim(**values):
    """One of the first core, of half a GPU and of all memory, with JSON in place of some values."""
    texts = {"gpus": f'["{FIRST}"]', "share": GPU // 2, "cores": "[0]", "memory_gb": 8} | values
    return "{" + ", ".join(f'"{key}": {text}' for key, text in texts.items()) + "}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"gpus": 3}',
        '{"cores": [0]}',
        "[" * 60000,
        a_claim(gpus="[" * 30000),
        a_claim(share="Infinity"),
        a_claim(share="1e999"),
        a_claim(share="NaN"),
        a_claim(share=-GPU),
        a_claim(cores="[1e999]"),
        a_claim(memory_gb="NaN"),
        a_claim(memory_gb="1e999"),
        a_claim(memory_gb="1" + "0" * 400),
        a_claim(memory_gb=-8),
    ],
    ids=lambda text: text[-24:],
)
def test_what_others_write_is_not_trusted(tmp_path, text):
    """A claim of another version, or of nobody's: it takes nothing, and stops nothing."""
    machine = Machine(gpus=(FIRST,), cores=(0,), memory_gb=8.0)
    slots = Slots(machine, tmp_path, others=lambda: [text])

    slot = slots.take(gpus=1, cpus=1, memory_gb=8.0)

    assert (slot.gpus, slot.cores) == ((FIRST,), (0,))


@pytest.mark.parametrize("planted", ["a link", "a pipe", "somebody else's file", "a linked folder"])
def test_planted_claims_are_not_read(everybodys, planted):
    """Nobody leads another user to files that are not their own, or makes them wait."""
    target = everybodys / "target.json"
    target.write_text('{"gpus": [], "share": 1, "cores": [0], "memory_gb": 0}')
    held = os.open(target, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder = everybodys / "launch-slots-54321"
    folder.mkdir()
    os.chown(folder, 54321, 54321)
    claim = folder / "slot-1.json"
    if planted == "a link":
        claim.symlink_to(target)
    elif planted == "a pipe":
        os.mkfifo(claim)
        os.chown(claim, 54321, 54321)
    elif planted == "somebody else's file":
        os.link(target, claim)
    else:
        folder.rename(everybodys / "elsewhere")
        (everybodys / "elsewhere" / "slot-1.json").hardlink_to(target)
        folder.symlink_to(everybodys / "elsewhere")

    assert list(claims_of_others()) == []
    os.close(held)


def test_a_taken_slot_keeps_cleaners_away(tmp_path):
    """systemd-tmpfiles leaves a folder alone while it is locked."""
    folder = tmp_path / "slots"
    folder.mkdir()
    slot = Slots(Machine(cores=(0,)), folder).take(gpus=0, cpus=1)
    cleaner = os.open(folder, os.O_RDONLY)

    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    slot.close()
    fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(cleaner)

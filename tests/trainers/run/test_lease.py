"""Who may write: real processes, stopped, killed and raced."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest

from trainers import exit_codes
from trainers.errors import ConfigError, LeaseHeldError, LeaseLostError, LeaseUnreadableError
from trainers.run import lease as lease_module
from trainers.run.failure_class import exit_code_of
from trainers.run.lease import TTL_S, Lease, is_live, read_lease
from trainers.run.lease_file import file_system_time

HOLD = """
import sys
from pathlib import Path
from trainers.run.lease import Lease
with Lease.take(Path(sys.argv[1]), owner="pack-0003", attempt=5):
    print("held", flush=True)
    sys.stdin.read()
"""

RACE = """
import os, sys
from pathlib import Path
from trainers.errors import LeaseHeldError
from trainers.run.lease import Lease
path, num_takers = Path(sys.argv[1]), int(sys.argv[2])
start, started = os.pipe()
end, ended = os.pipe()
for _ in range(num_takers):
    if os.fork() == 0:
        os.close(started), os.close(ended)
        os.read(start, 1)
        try:
            Lease.take(path, owner=str(os.getpid()), attempt=0)
            os.write(1, b"won\\n")
        except LeaseHeldError:
            os.write(1, b"refused\\n")
        os.read(end, 1)
        os._exit(0)
os.close(started)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lease.json"


@pytest.fixture
def holder(path):
    """Another process, attempt 5 of pack-0003, that holds the lease."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def quick_renewal(monkeypatch):
    monkeypatch.setattr(lease_module, "RENEW_S", 0.01)


def forge(path, *, age_s=0.0, **changes):
    """The lease of another process, as this one would have written it but for some changes."""
    for left in (path, path.with_name(f".{path.name}.lock")):
        left.unlink(missing_ok=True)
    with Lease.take(path, owner="somebody", attempt=0):
        content = {**attrs.asdict(read_lease(path)), **changes}
    del content["renewed"]
    path.write_text(json.dumps(content))
    renewed = file_system_time(path.parent) - age_s
    os.utime(path, (renewed, renewed))


def test_a_second_process_is_refused(path, holder):
    """Whoever comes second is told who holds the lease."""
    message = f"{path.parent} is held by process {holder.pid} on {socket.gethostname()}; wait"
    with pytest.raises(LeaseHeldError, match=message):
        Lease.take(path, owner="somebody", attempt=99)

    assert is_live(path)
    assert (read_lease(path).owner, read_lease(path).attempt) == ("pack-0003", 5)


def test_a_killed_holder_holds_nothing(path, holder):
    """Nobody waits for its lease to expire, not even while its parent has not noticed."""
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)

    assert not is_live(path)
    assert read_lease(path).pid == holder.pid
    with Lease.take(path, owner="somebody", attempt=0):
        assert read_lease(path).pid == os.getpid()


def test_a_lease_that_nobody_took_is_free(tmp_path, path):
    """Without a file, without a folder, and when the file holds something else."""
    assert not is_live(path)
    assert not is_live(tmp_path / "no" / "lease.json")

    for text in ("", "{", "[]", '{"host": "n1", "pid": 12}', '"x"'):
        path.write_text(text)
        assert read_lease(path) is None
        assert not is_live(path)


def test_a_released_lease_is_free_and_says_who_it_was(path):
    """The next one need not be of the same owner."""
    with Lease.take(path, owner="pack-0003", attempt=5):
        assert is_live(path)

    record = read_lease(path)
    assert (record.released, record.owner, record.pid) == (True, "pack-0003", os.getpid())
    assert not is_live(path)
    Lease.take(path, owner="somebody", attempt=0).release()


def test_a_later_attempt_takes_over_at_once(path, holder):
    """The scheduler has said that the earlier one is over, and it need not be."""
    for attempt in (4, 5):
        with pytest.raises(LeaseHeldError):
            Lease.take(path, owner="pack-0003", attempt=attempt)

    with Lease.take(path, owner="pack-0003", attempt=6) as lease:
        lease.check()
        assert read_lease(path).attempt == 6


def test_a_lost_lease_is_noticed_by_a_check(path):
    """Who has taken over is named, and its lease is left alone."""
    lost = Lease.take(path, owner="pack-0003", attempt=5)
    with Lease.take(path, owner="pack-0003", attempt=6) as lease:
        before = path.read_bytes()

        with pytest.raises(LeaseLostError, match=f"process {os.getpid()} on .* has taken over"):
            lost.check()
        lost.release()

        assert path.read_bytes() == before
        lease.check()


@pytest.mark.usefixtures("quick_renewal")
def test_a_lost_lease_is_noticed_without_a_check(path):
    """The thread that renews it tells."""
    heard: list = []
    lost = Lease.take(path, owner="pack-0003", attempt=5, on_loss=heard.append)
    with Lease.take(path, owner="pack-0003", attempt=6):
        lost._thread.join()

    assert [type(error) for error in heard] == [LeaseLostError]
    lost.release()


@pytest.mark.usefixtures("quick_renewal")
def test_a_lease_goes_with_its_folder(tmp_path, monkeypatch):
    """Who removes a run ends it after a while, and it makes no new folder."""
    monkeypatch.setattr(lease_module, "GONE_AFTER", 3)
    folder = tmp_path / "run"
    folder.mkdir()
    heard: list = []
    lease = Lease.take(folder / "lease.json", owner="pack-0003", attempt=5, on_loss=heard.append)

    folder.rename(tmp_path / "elsewhere")
    lease._thread.join(60)

    (error,) = heard
    assert exit_code_of(error) == exit_codes.UNAVAILABLE
    assert str(error).startswith(f"{folder} cannot be written: it has been missing for ")
    lease.release()
    assert not folder.exists()


@pytest.mark.parametrize("content", [None, "", '{"token": "ab'])
def test_a_file_that_says_nothing_is_no_loss(path, monkeypatch, content):
    """Missing or half written, as an NFS client may see it for a moment: a writer tries later."""
    monkeypatch.setattr(lease_module, "CHECK_TIMEOUT_S", 0.0)
    heard: list = []
    with Lease.take(path, owner="pack-0003", attempt=5, on_loss=heard.append) as lease:
        record = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_text(content)

        with pytest.raises(LeaseUnreadableError, match=r"who may write is not known.*lease\.json"):
            lease.check()
        path.write_bytes(record)
        lease.check()

    assert heard == []


def test_a_file_that_is_back_in_time_is_waited_for(path):
    """A writer does not even notice that the file was away."""
    with Lease.take(path, owner="pack-0003", attempt=5) as lease:
        away = path.rename(path.with_name("away"))
        back = threading.Timer(0.3, away.rename, [path])
        back.start()

        lease.check()

        back.join()


def test_a_lease_that_is_missing_for_a_moment_is_not_free(path):
    """A taker looks again where a lease was taken before."""
    with Lease.take(path, owner="pack-0003", attempt=5):
        away = path.rename(path.with_name("away"))
        back = threading.Timer(0.3, away.rename, [path])
        back.start()

        with pytest.raises(LeaseHeldError):
            Lease.take(path, owner="somebody", attempt=99)

        back.join()


def test_a_folder_that_is_away_for_a_moment_is_waited_for(tmp_path):
    """A run that is started meanwhile begins once it is back."""
    folder, away = tmp_path / "run", tmp_path / "away"
    away.mkdir()
    back = threading.Timer(0.3, away.rename, [folder])
    back.start()

    with Lease.take(folder / "lease.json", owner="pack-0003", attempt=5) as lease:
        lease.check()
    back.join()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_flock_will_do(path, monkeypatch, caplog, number):
    """Leases work without; the log names the file and the mount option."""

    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)

    with Lease.take(path, owner="pack-0003", attempt=5), pytest.raises(LeaseHeldError):
        Lease.take(path, owner="somebody", attempt=0)

    first = caplog.records[0].getMessage()
    assert first.startswith(f"{path.parent}/.lease.json.lock: ")
    assert "mount option `flock`" in first


def test_files_of_another_user_are_named(path, monkeypatch):
    """With what a shared folder needs."""
    lock = path.with_name(".lease.json.lock")
    lock.touch()
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self == lock:
            raise PermissionError(errno.EACCES, "Permission denied", str(lock))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(ConfigError, match=f"{lock} cannot be written: .* belongs to .*umask 002"):
        Lease.take(path, owner="pack-0003", attempt=5)


def test_a_holder_elsewhere_is_given_time(path):
    """Its process cannot be looked at: it holds the lease as long as it has just renewed it."""
    forge(path, host="n1", age_s=TTL_S - 5)
    assert is_live(path)
    with pytest.raises(LeaseHeldError, match="on n1"):
        Lease.take(path, owner="pack-0003", attempt=1)

    forge(path, host="n1", age_s=TTL_S + 1)
    assert not is_live(path)
    Lease.take(path, owner="pack-0003", attempt=1).release()


@pytest.mark.parametrize("changes", [{"machine": "another boot"}, {"host": "container"}])
def test_only_a_process_that_can_be_seen_is_looked_at(path, changes):
    """A number means nothing in another boot or container, whatever process bears it here."""
    forge(path, pid=2**30, **changes)
    assert is_live(path)

    forge(path, pid=2**30)
    assert not is_live(path)


def test_a_number_that_is_used_again_is_another_process(path):
    """A process that began at another time is not the holder."""
    forge(path)
    assert is_live(path)

    forge(path, process_started=1)
    assert not is_live(path)


def test_a_wrong_clock_does_no_harm(path, monkeypatch):
    """Ages are told by the file system: a host whose clock is an hour wrong agrees."""
    forge(path, host="n1", age_s=TTL_S / 2)

    for error_s in (-3600, 3600):
        monkeypatch.setattr("time.time", lambda error_s=error_s: path.stat().st_mtime + error_s)
        assert is_live(path)


@pytest.mark.usefixtures("quick_renewal")
def test_a_lease_is_renewed(path):
    """A holder that was stopped for long holds the lease again, if nobody has taken over."""
    with Lease.take(path, owner="pack-0003", attempt=5) as lease:
        os.utime(path, (0, 0))
        while not is_live(path):
            pass
        lease.check()


@pytest.mark.usefixtures("quick_renewal")
def test_a_full_disk_does_not_end_a_lease(tmp_path):
    """To renew and to release it takes no room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        path = disk / "lease.json"
        with Lease.take(path, owner="pack-0003", attempt=5):
            with pytest.raises(OSError, match="No space"), (disk / "full").open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            os.utime(path, (0, 0))
            while not is_live(path):
                pass
        assert read_lease(path).released
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_suspended_holder_on_this_machine_is_not_passed_over(path, holder):
    """It goes on some time, and nothing may run beside it; its own next attempt takes over."""
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    renewed = file_system_time(path.parent) - 2 * TTL_S
    os.utime(path, (renewed, renewed))

    assert is_live(path)
    with pytest.raises(LeaseHeldError):
        Lease.take(path, owner="somebody", attempt=6)
    Lease.take(path, owner="pack-0003", attempt=6).release()


@pytest.mark.parametrize("left", ["nothing", "a dead holder", "an expired holder"])
def test_of_many_takers_one_wins(path, left):
    """However many come at once, and whatever they find."""
    if left == "a dead holder":
        forge(path, pid=2**30)
    if left == "an expired holder":
        forge(path, host="n1", age_s=TTL_S + 1)

    with subprocess.Popen(
        [sys.executable, "-c", RACE, str(path), "24"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as race:
        outcomes = [race.stdout.readline() for _ in range(24)]

    assert sorted(outcomes) == [b"refused\n"] * 23 + [b"won\n"]


def test_nothing_but_the_lease_is_left(tmp_path, path):
    """And the file that takers take turns with."""
    Lease.take(path, owner="pack-0003", attempt=5).release()

    assert sorted(Path(tmp_path).iterdir()) == [tmp_path / ".lease.json.lock", path]

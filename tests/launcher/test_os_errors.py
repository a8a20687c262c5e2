"""Errors of the operating system in words, and reading that waits them out."""

import errno
import os
import pickle
import tempfile
import threading
import time
from pathlib import Path

import pytest

from launcher.os_errors import PatientReader, doing, sentence
from trainers.errors import UnavailableError
from trainers.run.atomic_write import atomic_write
from trainers.run.failure_class import is_of_this_moment
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

ALL = sorted(errno.errorcode)


def failure(number, *paths):
    return OSError(number, os.strerror(number), *paths)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            failure(errno.EDQUOT, "/a/b"),
            "/a/b: Disk quota exceeded: your quota is used up: delete something (`quota -s`), or "
            "ask for more",
        ),
        (
            failure(errno.ESTALE, b"/a/\xff"),
            "/a/\ufffd: Stale file handle: it may pass: try again, and ask an administrator if it "
            "stays",
        ),
        (
            failure(errno.ENOTDIR, "/a", None, "/b"),
            "/a and /b: Not a directory: a plain file is where a folder is needed: move it away, "
            "or give another path",
        ),
        (
            failure(errno.ENOSPC),
            "No space left on device: make room there (`df -h`, and `df -i` for the number of "
            "files), and try again",
        ),
        (
            OSError("no errno at all"),
            "no errno at all: it may pass: try again, and ask an administrator if it stays",
        ),
    ],
)
def test_an_error_is_a_sentence(error, text):
    """The path if it has one, the problem in the system's words, and what to do."""
    assert sentence(error) == text


@pytest.mark.parametrize("number", ALL)
def test_every_error_has_an_advice(number):
    """Those that pass as well as those that do not; nothing raises, on one line."""
    text = sentence(failure(number, "/a"))

    assert text.startswith(f"/a: {os.strerror(number)}: ")
    assert len(text.splitlines()) == 1
    if is_of_this_moment(failure(number)):
        assert "correct" not in text


def test_what_was_tried_is_named_once(tmp_path):
    """By the innermost block that knows; a call that knows no path gets that of the block."""
    with pytest.raises(OSError) as caught, doing("outside", tmp_path), doing("inside", tmp_path):
        raise failure(errno.EIO)

    assert sentence(caught.value).startswith(
        f"{tmp_path}: Input/output error, while inside: it may pass"
    )
    assert type(caught.value) is OSError
    assert pickle.loads(pickle.dumps(caught.value)).errno == errno.EIO


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch):
    """The one path that its error does not name."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(OSError) as caught, doing("looking", tmp_path):
        Path.cwd()

    assert sentence(caught.value).startswith("the working directory no longer exists: ")


def test_no_room_for_temporary_files(monkeypatch):
    """It is told in the words of the module that looked for it."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/no"])

    with pytest.raises(OSError) as caught:
        tempfile.gettempdir()

    assert sentence(caught.value).startswith("No usable temporary directory found in ['/proc/no']")


def test_a_file_has_the_name_that_it_is_to_have(tmp_path):
    """Not the one under which it is written until it is complete."""
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "no" / "state.json"):
        pass

    assert sentence(caught.value).startswith(f"{tmp_path}/no/state.json: No such file or directory")


def test_what_passes_is_waited_out():
    """A handle that is stale for a moment costs a moment."""
    failures = [failure(errno.ESTALE), failure(errno.EIO)]

    def attempt():
        if failures:
            raise failures.pop()
        return "read"

    assert PatientReader().read(attempt) == "read"


def test_a_missing_file_that_is_being_replaced_is_waited_for():
    """The state of a run says so by its cause: a client of NFS sees no file for a moment."""
    missing = [True]

    def attempt():
        if missing.pop() if missing else False:
            raise UnavailableError("is missing") from failure(errno.ENOENT)
        return "read"

    assert PatientReader().read(attempt) == "read"


def test_a_missing_file_is_told_in_a_sentence(tmp_path):
    """With its path and what to do, as any other error."""
    reader = PatientReader()

    assert reader.read_or("", (tmp_path / "log").read_text) == ""

    (problem,) = reader.problems
    assert problem.startswith(f"{tmp_path / 'log'}: No such file or directory: check the path")


def test_half_a_file_is_read_again(tmp_path):
    """As a client of NFS may see one that another one replaces."""
    path, contents = tmp_path / "state.json", ['{"iteration": 3}', '{"itera']

    def attempt():
        path.write_text(contents.pop())
        return read_state(RunFolder(tmp_path), timeout_s=0)

    assert PatientReader().read(attempt).iteration == 3


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.ENOTDIR])
def test_what_does_not_pass_is_tried_once(number):
    """Nobody waits for a permission."""
    attempts = []

    def attempt():
        attempts.append(1)
        raise failure(number)

    with pytest.raises(OSError):
        PatientReader().read(attempt)
    assert len(attempts) == 1


def test_the_patience_is_shared(monkeypatch):
    """When it is used up, each further file of a dead disk is tried once."""
    monkeypatch.setattr("launcher.os_errors.PATIENCE_S", 0.3)
    reader, attempts = PatientReader(), []

    def attempt():
        attempts.append(1)
        raise failure(errno.EIO, "/disk")

    assert reader.read_or("nothing", attempt) == "nothing"
    first = len(attempts)
    assert first > 1
    for _ in range(10):
        reader.read_or("nothing", attempt)
    assert len(attempts) == first + 10
    assert set(reader.problems) == {sentence(failure(errno.EIO, "/disk"))}


def test_many_reads_that_wait_wait_at_once():
    """In the order of what is read; a few are read one after the other."""
    threads = set()

    def read(number):
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return -number

    reader = PatientReader()

    assert reader.read_each(read, range(10)) == [-number for number in range(10)]
    assert threads == {threading.get_ident()}
    assert reader.read_each(read, range(300)) == [-number for number in range(300)]
    assert len(threads) > 1

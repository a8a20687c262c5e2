"""Errors of the operating system in one sentence: the path, what was tried, and what to do."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trainers.errors import ConfigError, UnavailableError
from trainers.run.backoff import retry
from trainers.run.failure_class import is_of_this_moment

T = TypeVar("T")
U = TypeVar("U")

PATIENCE_S = 2.0
"""How long one command waits, in all, for files that cannot be read at the moment."""

_FEW = 64
_NUM_READERS = 16

_TEMPORARY = re.compile(r"\.tmp-(.+)-[0-9a-f]{32}")
"""The name under which `trainers.run.atomic_write` writes a file until it is complete."""
_PERMISSION = "ask its owner for access, or take another folder (`ls -ld` shows who may use which)"
_AWAY = "it may pass: try again, and ask an administrator if it stays"
_CHECK_MOUNT = "look whether the file system is mounted here (`df`), and try again"
_PROCESSES = "end some of your processes here (`ps -u $USER`), or raise the limit (`ulimit -a`)"
_ADVICE = {
    errno.ENOSPC: "make room there (`df -h`, and `df -i` for the number of files), and try again",
    errno.EDQUOT: "your quota is used up: delete something (`quota -s`), or ask for more",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`)",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "take a folder that can be written to, or ask an administrator to mount it so",
    errno.ENOENT: "check the path; if another process just moved or deleted it, try again",
    errno.ENOTDIR: "a plain file is where a folder is needed: move it away, or give another path",
    errno.EISDIR: "a folder is where a file is needed: move it away, or give another path",
    errno.EEXIST: "move away what is there, or give another path",
    errno.ELOOP: "its symbolic links lead in a circle: correct them, or give another path",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EIO: _AWAY,
    errno.ESTALE: _AWAY,
    errno.ETIMEDOUT: _AWAY,
    errno.ENOTCONN: _CHECK_MOUNT,
    errno.EHOSTDOWN: _CHECK_MOUNT,
    errno.ESHUTDOWN: _CHECK_MOUNT,
    errno.ENODEV: _CHECK_MOUNT,
    errno.ENOLCK: "its file system gives no locks at the moment: try again, or take another folder",
    errno.ENOSYS: "its file system cannot do that: take a folder on another one",
    errno.EOPNOTSUPP: "its file system cannot do that: take a folder on another one",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "this machine has too many files open: try again later, or elsewhere",
    errno.EAGAIN: _PROCESSES,
    errno.ENOMEM: "this machine has no memory left: try again later, or elsewhere",
}


def sentence(error: OSError) -> str:
    """Return what happened in one sentence, such as `PATH: No space left on device, while …: …`."""
    if _is_of_getcwd(error):
        return "the working directory no longer exists: change to another one (`cd`), and try again"
    paths = [_shown(path) for path in (error.filename, error.filename2) if path is not None]
    where = " and ".join(paths)
    problem = error.strerror or str(error) or type(error).__name__
    tried = "".join(f", while {note}" for note in getattr(error, "__notes__", ()))
    advice = _ADVICE.get(error.errno or 0, _AWAY)
    return f"{f'{where}: ' if where else ''}{problem}{tried}: {advice}"


def problem_of(error: Exception) -> str:
    """Return the sentence of an error, or of the one behind it that says more."""
    if isinstance(error, OSError):
        return sentence(error)
    cause = error.__cause__ if isinstance(error, UnavailableError) else None
    # That a file of a run is missing is explained by the error itself.
    if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
        return sentence(cause)
    return str(error)


@contextmanager
def doing(what: str, path: Path) -> Iterator[None]:
    """Add to an OSError of the body what was tried, and on which path if it does not say so.

    The error stays the same exception; the innermost `doing` has the word.

    Args:
        what: Completes "while", such as "reading the state of run a".
    """
    try:
        yield
    except OSError as error:
        if not hasattr(error, "__notes__"):
            error.add_note(what)
        if error.filename is None and not _is_of_getcwd(error):
            error.filename = str(path)  # write and fsync do not know it
        raise


def may_pass(error: BaseException) -> bool:
    """Return whether what cannot be read now may be readable a moment later."""
    cause = error.__cause__ if isinstance(error, UnavailableError) else error
    # A file that is missing while another client of NFS replaces it is no FileNotFoundError here,
    # but an UnavailableError with that cause.
    is_replaced = cause is not error and isinstance(cause, FileNotFoundError)
    return is_replaced or (cause is not None and is_of_this_moment(cause))


class PatientReader:
    """Reads for one command; failures that pass are waited out, for PATIENCE_S in all.

    In all, since a thousand runs may lie on the one disk that does not answer.
    """

    def __init__(self) -> None:
        self._left_s = PATIENCE_S
        self.problems: list[str] = []
        """What `read_or` could not read, a sentence each."""

    def read(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns.

        Raises:
            OSError: Its last failure.
        """
        began_s: float | None = None

        def failed(error: Exception, elapsed_s: float) -> None:
            nonlocal began_s
            began_s = time.monotonic() - elapsed_s if began_s is None else began_s

        try:
            return retry(
                attempt,
                timeout_s=self._left_s,
                passes=lambda error: may_pass(error) or _is_half_read(error),
                on_failure=failed,
            )
        finally:
            if began_s is not None:
                self._left_s = max(0.0, self._left_s - (time.monotonic() - began_s))

    def read_each(self, read: Callable[[U], T], items: Sequence[U]) -> list[T]:
        """Return what `read` returns for each item.

        In threads if most of the time is spent waiting: a shared file system answers many at once,
        while threads that compute only wait for each other.
        """
        began_s, computed_s = time.monotonic(), -time.thread_time()
        done = list(map(read, items[:_FEW]))
        computed_s += time.thread_time()
        if len(items) <= _FEW or time.monotonic() - began_s < 2 * computed_s:
            return done + list(map(read, items[_FEW:]))
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_NUM_READERS) as readers:
            return done + list(readers.map(read, items[_FEW:]))

    def read_or(self, default: U, attempt: Callable[[], T]) -> T | U:
        """Return what `attempt` returns; the default, and a problem more, if it cannot read."""
        try:
            return self.read(attempt)
        except (OSError, UnavailableError) as error:
            self.problems.append(problem_of(error))
            return default


def _is_half_read(error: Exception) -> bool:
    """Return whether a file is no JSON, as a client of NFS may see one while it is replaced."""
    cause = error.__cause__ if isinstance(error, ConfigError) else error
    return isinstance(cause, (TypeError, ValueError))


def _is_of_getcwd(error: OSError) -> bool:
    """Return whether this is the one call that misses a file without a name for it: getcwd.

    It is behind every relative path.
    """
    return error.filename is None and error.strerror == os.strerror(errno.ENOENT)


def _shown(path: object) -> str:
    text = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    folder, slash, name = text.rpartition("/")
    temporary = _TEMPORARY.fullmatch(name)
    return f"{folder}{slash}{temporary[1]}" if temporary else text

"""The class of a failure: pure decisions from an exception. The table is docs/failures.md."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from trainers import exit_codes
from trainers.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    LeaseHeldError,
    LeaseLostError,
    NodeFaultError,
    NonFiniteError,
    RankError,
    UnavailableError,
)

_OF_THIS_MOMENT = frozenset(
    {
        errno.EIO,  # what NFS with `soft`, FUSE and a failing disk say
        errno.ESTALE,  # NFS: the file was replaced or the server restarted
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ETIMEDOUT,
        errno.ENOTCONN,  # FUSE: the daemon has died
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
        errno.EKEYEXPIRED,  # NFS with Kerberos, until the ticket is renewed
        errno.ESHUTDOWN,  # Lustre: the client was evicted
        errno.EROFS,  # what ext4 and Lustre become after an error
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ENOLCK,
        errno.ENODEV,
        errno.ENXIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
    }
)
"""Errors that pass: a mount that comes back, a server that restarts, a disk that is emptied."""

_OUT_OF_MEMORY = re.compile(
    r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED|cannot allocate memory",
    re.IGNORECASE,
)
"""Allocation failures that are no `torch.OutOfMemoryError`: those of cuBLAS, cuDNN and NCCL."""
_OF_THE_PROGRAM = re.compile(
    r"device-side assert|illegal memory access|misaligned address|illegal instruction"
    r"|invalid configuration argument|invalid device function|no kernel image",
    re.IGNORECASE,
)
"""CUDA errors that a faulty kernel or a wrong build causes; another GPU would do the same."""
_OF_A_PEER = re.compile(r"gloo/transport/")
"""Inside of DDP, another rank that has ended shows as a bare error of gloo's sockets."""
_OF_THE_GPU = re.compile(r"CUDA error|CUDA driver|CUBLAS_STATUS|CUDNN_STATUS|NCCL|Xid|\bECC\b")


def is_of_this_moment(error: BaseException) -> bool:
    """Return whether a failure passes by itself, or once a disk has room again.

    That of a missing file does not: whether it may come back is for the caller to know, who then
    raises an UnavailableError.
    """
    if isinstance(error, OSError) and error.errno in _OF_THIS_MOMENT:
        return True
    return isinstance(error, UnavailableError)


def may_come_back(error: BaseException) -> bool:
    """Return whether a file that was there before may be there again later.

    It may be missing or forbidden only for now: its folder is not mounted, or a ticket has expired.
    """
    gone = (FileNotFoundError, NotADirectoryError, PermissionError)
    return is_of_this_moment(error) or isinstance(error, gone)


def exit_code_of(error: BaseException, run: Path | None = None) -> int:
    """Return the exit code of a trainer that ends with this exception.

    Args:
        run: A folder that was there; a file below it that is missing is away, with its file system.
    """
    if run and may_come_back(error) and run in _path_of(error).parents:
        return exit_codes.UNAVAILABLE
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    if is_of_this_moment(error):
        return exit_codes.UNAVAILABLE
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return exit_codes.OUT_OF_MEMORY
    return _of_runtime_error(str(error)) if isinstance(error, RuntimeError) else exit_codes.FAILED


def _path_of(error: BaseException) -> Path:
    """Return the path that an operating system error is about; a relative one if there is none."""
    return Path(str(getattr(error, "filename", None)))


_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (MemoryError, exit_codes.OUT_OF_MEMORY),
    (UnavailableError, exit_codes.UNAVAILABLE),  # before DataError and CheckpointError
    (ConfigError, exit_codes.UNUSABLE),
    (DataError, exit_codes.UNUSABLE),
    (CheckpointError, exit_codes.UNUSABLE),
    (NodeFaultError, exit_codes.NODE_FAULT),
    (NonFiniteError, exit_codes.NON_FINITE),
    (RankError, exit_codes.RANK_LOST),
    (LeaseHeldError, exit_codes.NOTHING_TO_DO),
    (LeaseLostError, exit_codes.NOTHING_TO_DO),
)


def _of_runtime_error(message: str) -> int:
    """Return the exit code of an error of torch, which has no types for most of its causes."""
    if _OUT_OF_MEMORY.search(message):
        return exit_codes.OUT_OF_MEMORY
    if _OF_A_PEER.search(message):
        return exit_codes.RANK_LOST
    if _OF_THE_GPU.search(message) and not _OF_THE_PROGRAM.search(message):
        return exit_codes.NODE_FAULT
    return exit_codes.FAILED

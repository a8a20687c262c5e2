"""Every exception has a class, and the class an exit code."""

import errno
import os
from pathlib import Path

import pytest
import torch

from trainers import errors, exit_codes
from trainers.run.failure_class import exit_code_of


def os_error(number):
    return OSError(number, os.strerror(number), "/some/file")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("a key"), exit_codes.UNUSABLE),
        (errors.DataError("a shape"), exit_codes.UNUSABLE),
        (errors.DamagedCheckpointError("a bit"), exit_codes.UNUSABLE),
        (errors.DataUnavailableError("a mount"), exit_codes.UNAVAILABLE),
        (errors.StorageUnavailableError("a full disk"), exit_codes.UNAVAILABLE),
        (errors.NodeFaultError("no CUDA"), exit_codes.NODE_FAULT),
        (errors.NonFiniteError("NaN"), exit_codes.NON_FINITE),
        (errors.RankError("rank 1 was lost"), exit_codes.RANK_LOST),
        (errors.StreamError("a bug in a node"), exit_codes.FAILED),
        (ValueError("a bug"), exit_codes.FAILED),
        (RuntimeError("shapes do not match"), exit_codes.FAILED),
        (os_error(errno.EIO), exit_codes.UNAVAILABLE),
        (os_error(errno.ESTALE), exit_codes.UNAVAILABLE),
        (os_error(errno.ENOSPC), exit_codes.UNAVAILABLE),
        (os_error(errno.EDQUOT), exit_codes.UNAVAILABLE),
        (os_error(errno.EPERM), exit_codes.FAILED),
        (MemoryError(), exit_codes.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), exit_codes.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), exit_codes.OUT_OF_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), exit_codes.OUT_OF_MEMORY),
        (
            torch.distributed.DistBackendError("NCCL error: Cuda failure 2 'out of memory'"),
            exit_codes.OUT_OF_MEMORY,
        ),
        (
            torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
            exit_codes.NODE_FAULT,
        ),
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure"),
            exit_codes.NODE_FAULT,
        ),
        (
            torch.distributed.DistBackendError("NCCL error: remote process exited"),
            exit_codes.NODE_FAULT,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"), exit_codes.NODE_FAULT),
        (
            RuntimeError("[/gloo/gloo/transport/tcp/pair.cc:537] Connection reset by peer"),
            exit_codes.RANK_LOST,
        ),
        (
            torch.AcceleratorError("CUDA error: device-side assert triggered"),
            exit_codes.FAILED,
        ),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
            exit_codes.FAILED,
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_exit_code_of(error, code):
    """Wrong, of this moment, of this node or of the run: the exit code says which."""
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("path", "code"),
    [("/runs/first/left_out.json", exit_codes.UNAVAILABLE), ("/other/file", exit_codes.FAILED)],
)
def test_a_file_of_the_run_that_is_missing_is_away(path, code):
    """Its folder was there; a file elsewhere may never have been."""
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    assert exit_code_of(error, Path("/runs/first")) == code

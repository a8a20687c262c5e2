"""The GPU of a rank: found, or the fault of this node said before anything waits for it."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping

import torch

from trainers.errors import ConfigError, NodeFaultError, TrainerError

logger = logging.getLogger(__name__)

_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""By which a process is given GPUs; the last two are AMD's."""
_NO_GPUS = ("", "-1", "NoDevFiles")
"""Values of these that name no GPU; the last one is Slurm's."""


def check_gpu() -> None:
    """Refuse to train on the CPU where this process was given a GPU.

    Raises:
        NodeFaultError: CUDA cannot use the one that was given.
        ConfigError: This torch cannot use any GPU.
    """
    if torch.cuda.is_available():
        return
    has_cuda = torch.version.cuda is not None or torch.version.hip is not None
    if problem := missing_gpu(os.environ, _what_cuda_says(), has_cuda=has_cuda):
        raise problem


def own_device() -> torch.device:
    """Return this rank's GPU, or the CPU without one."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def missing_gpu(
    environment: Mapping[str, str], error: str, *, has_cuda: bool
) -> TrainerError | None:
    """Return what is wrong where CUDA finds no GPU; None if this process was given none.

    Args:
        environment: CUDA_VISIBLE_DEVICES, or AMD's variable in its place, as the supervisor sets it
            for the run; LAUNCH_FAKE_GPUS=1 where GPUs are pretended, as in the Slurm sandbox, and
            runs train on the CPU.
        error: What CUDA says.
        has_cuda: Whether this torch was built to use GPUs.
    """
    host = platform.node()
    values = (environment.get(name, "") for name in _VARIABLES)
    given = next((value for value in values if value not in _NO_GPUS), None)
    if given is None:
        return None
    if environment.get("LAUNCH_FAKE_GPUS") == "1":
        logger.warning("LAUNCH_FAKE_GPUS is set: on the CPU, in place of GPU %s of %s", given, host)
        return None
    if not has_cuda:
        return ConfigError(
            f"the run was given GPU {given} of {host}, and torch {torch.__version__} is built "
            "without CUDA and ROCm: install a build with the one of your GPUs "
            "(https://pytorch.org/get-started), or train on the CPU with resources.gpus: 0"
        )
    return NodeFaultError(
        f"the run was given GPU {given} of {host}, and CUDA cannot use it: {error}. It is tried "
        "again elsewhere; see `nvidia-smi` and `dmesg` there. If no node can use its GPUs, the "
        "driver may be too old for this torch"
    )


def _what_cuda_says() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (AssertionError, RuntimeError) as error:
        return str(error)
    return f"it finds {torch.cuda.device_count()} GPUs"

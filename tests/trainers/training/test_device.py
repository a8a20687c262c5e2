import pytest

from trainers.errors import ConfigError, NodeFaultError
from trainers.training.device import missing_gpu

NO_DRIVER = "Found no NVIDIA driver on your system"


@pytest.mark.parametrize("given", [None, "", "-1", "NoDevFiles"])
def test_a_process_without_a_gpu_uses_the_cpu(given):
    """As on a laptop, whatever this torch can do."""
    environment = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}

    assert missing_gpu(environment, NO_DRIVER, has_cuda=True) is None
    assert missing_gpu(environment, NO_DRIVER, has_cuda=False) is None


def test_a_given_gpu_that_cannot_be_used_is_a_fault_of_the_node():
    """Named with what CUDA says; training on the CPU would take days, without a word."""
    problem = missing_gpu({"CUDA_VISIBLE_DEVICES": "GPU-1"}, NO_DRIVER, has_cuda=True)

    assert isinstance(problem, NodeFaultError)
    assert "GPU GPU-1" in str(problem)
    assert NO_DRIVER in str(problem)


def test_a_torch_without_cuda_is_wrong():
    """No other node helps: the message says what does."""
    problem = missing_gpu({"CUDA_VISIBLE_DEVICES": "0"}, NO_DRIVER, has_cuda=False)

    assert isinstance(problem, ConfigError)
    assert "resources.gpus: 0" in str(problem)


def test_pretended_gpus_are_said_in_the_log(caplog):
    """The sandbox has GPUs for Slurm only, and runs there use the CPU."""
    environment = {"CUDA_VISIBLE_DEVICES": "0", "LAUNCH_FAKE_GPUS": "1"}

    assert missing_gpu(environment, NO_DRIVER, has_cuda=False) is None
    assert "on the CPU, in place of GPU 0" in caplog.text

from collections.abc import Iterator

import pytest
import torch

from trainers.checkpoints.memory_copy import MemoryCopy

NUM_LARGE = 5_000_001
"""Elements that make several pieces, the last of which is not a whole one."""


@pytest.fixture(params=[1, 2, 4])
def memory_copy(request: pytest.FixtureRequest) -> Iterator[MemoryCopy]:
    """With this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    copy = MemoryCopy()
    torch.set_num_threads(before)
    yield copy
    copy.close()


def test_every_tensor_is_copied(memory_copy: MemoryCopy) -> None:
    """Whatever size, dtype and strides it has, every tensor is copied."""
    complex_numbers = torch.randn(20_000, dtype=torch.complex64)
    sources = [
        torch.arange(NUM_LARGE),
        torch.rand(()),
        torch.rand(0, 3),
        torch.rand(7, dtype=torch.float64),
        torch.rand(300, 301).t(),
        torch.rand(40, 50, 60)[:, ::2],
        torch.rand(NUM_LARGE).bfloat16(),
        torch.rand(100_000) > 0.5,
        complex_numbers.conj(),
        complex_numbers.conj().imag,
        torch.nn.Parameter(torch.rand(99_999)),
    ]
    targets = [torch.zeros(each.shape, dtype=each.dtype) for each in sources]

    memory_copy.copy(targets, sources)

    assert all(map(torch.equal, targets, sources))


def test_the_copy_is_whole_on_return(memory_copy: MemoryCopy) -> None:
    """The source may change as soon as it is copied."""
    source = torch.ones(NUM_LARGE)
    target = torch.zeros(NUM_LARGE)
    for value in range(1, 6):
        memory_copy.copy([target], [source])
        source.add_(1)

        assert torch.equal(target, torch.full((NUM_LARGE,), float(value)))


def test_there_may_be_no_tensors(memory_copy: MemoryCopy) -> None:
    """To copy nothing does nothing."""
    memory_copy.copy([], [])

"""Copying on several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from trainers.checkpoints.memory_copy import MemoryCopier, MemoryCopy
from trainers.errors import CheckpointError

NUM_LARGE = 5_000_001
"""Elements that make several pieces, the last of which is not a whole one."""


@pytest.fixture(params=[1, 2, 4])
def copier(request: pytest.FixtureRequest) -> Iterator[MemoryCopier]:
    """With this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    copier = MemoryCopier()
    torch.set_num_threads(before)
    yield copier
    copier.close()


def test_every_tensor_is_copied(copier: MemoryCopier) -> None:
    """Whatever size, dtype and strides it has."""
    numbers = torch.randn(20_000, dtype=torch.complex64)
    sources = [
        torch.arange(NUM_LARGE),
        torch.rand(()),
        torch.rand(0, 3),
        torch.rand(7, dtype=torch.float64),
        torch.rand(300, 301).t(),
        torch.rand(40, 50, 60)[:, ::2],
        torch.rand(NUM_LARGE).bfloat16(),
        torch.rand(100_000) > 0.5,
        numbers.conj(),
        numbers.conj().imag,
        torch.nn.Parameter(torch.rand(99_999)),
    ]
    targets = [torch.zeros(each.shape, dtype=each.dtype) for each in sources]

    copier.run(MemoryCopy(targets, sources))

    assert all(map(torch.equal, targets, sources))


def test_the_copy_is_whole_on_return(copier: MemoryCopier) -> None:
    """The source may change as soon as it is copied."""
    source = torch.ones(NUM_LARGE)
    target = torch.zeros(NUM_LARGE)
    for value in range(1, 6):
        copier.run(MemoryCopy([target], [source]))
        source.add_(1)

        assert torch.equal(target, torch.full((NUM_LARGE,), float(value)))


def test_there_may_be_no_tensors(copier: MemoryCopier) -> None:
    """Then there is nothing to wait for."""
    copy = MemoryCopy([], [])

    copier.run(copy)

    copy.wait_for(2**62)


def test_what_waits_for_the_beginning_finds_it_whole(copier: MemoryCopier) -> None:
    """Large and small tensors alike, in whatever order they are given."""
    memory = torch.zeros(3 * NUM_LARGE)
    targets = [
        memory[2 * NUM_LARGE + 5 :],
        memory[:NUM_LARGE],
        memory[NUM_LARGE : NUM_LARGE + 5],
        memory[NUM_LARGE + 5 : 2 * NUM_LARGE + 5],
    ]
    copy = MemoryCopy(targets, [torch.ones(each.shape) for each in targets])
    found: dict[int, bool] = {}

    def look(num_items: int) -> None:
        copy.wait_for(memory.data_ptr() + 4 * num_items)
        found[num_items] = bool(memory[:num_items].all())

    ends = range(1, 3 * NUM_LARGE, NUM_LARGE // 3)
    looking = [threading.Thread(target=look, args=(each,)) for each in ends]
    for each in looking:
        each.start()

    copier.run(copy)

    for each in looking:
        each.join()
    assert found == dict.fromkeys(ends, True)


def test_who_waits_for_a_copy_that_fails_is_told(copier: MemoryCopier) -> None:
    """It will never be whole."""
    copy = MemoryCopy([torch.zeros(3)], [torch.zeros(4)])
    with pytest.raises(RuntimeError):
        copier.run(copy)

    with pytest.raises(CheckpointError, match="could not be copied"):
        copy.wait_for(2**62)

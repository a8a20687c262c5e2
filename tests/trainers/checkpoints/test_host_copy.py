"""Copying on several threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from trainers.checkpoints import host_copy
from trainers.checkpoints.host_copy import MemoryCopier

PIECE_BYTES = 2**20
NUM_LARGE = 5_000_001
"""Elements that make several pieces, the last of which is not a whole one."""


@pytest.fixture(params=[1, 2, 4])
def copier(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MemoryCopier]:
    """With this many threads."""
    monkeypatch.setattr(host_copy, "_PIECE_BYTES", PIECE_BYTES)
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

    copier.copy(targets, sources)

    assert all(map(torch.equal, targets, sources))


def test_the_copy_is_whole_on_return(copier: MemoryCopier) -> None:
    """The source may change as soon as it is copied."""
    source = torch.ones(NUM_LARGE)
    target = torch.zeros(NUM_LARGE)
    for value in range(1, 6):
        copier.copy([target], [source])
        source.add_(1)

        assert torch.equal(target, torch.full((NUM_LARGE,), float(value)))


def test_there_may_be_no_tensors(copier: MemoryCopier) -> None:
    """Then there is nothing to do."""
    copier.copy([], [])


def test_a_copy_that_fails_is_told(copier: MemoryCopier) -> None:
    """The next one works."""
    with pytest.raises(RuntimeError):
        copier.copy([torch.zeros(3)], [torch.zeros(4)])

    target = torch.zeros(NUM_LARGE)
    copier.copy([target], [torch.ones(NUM_LARGE)])
    assert target.all()

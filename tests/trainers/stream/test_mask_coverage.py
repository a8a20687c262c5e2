"""Which blocks a mask covers enough, compared with looking at each."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainers.datasets.dataset import Dataset
from trainers.run.sections import SECTIONS, Section
from trainers.stream import mask_coverage_cache
from trainers.stream.dataset_mixture import DatasetMixture
from trainers.stream.mask_coverage import CoveredBlocks, find_covered_blocks
from trainers.stream.mask_coverage_cache import covered_blocks
from trainers.stream.random_location import RandomLocation
from trainers.stream.stream_spec import StreamSpec

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "launch-trainers" / "covered-blocks"


def by_looking(
    mask: npt.NDArray[np.uint8], block: tuple[int, ...], min_count: int
) -> set[tuple[int, ...]]:
    starts = [range(whole - part + 1) for whole, part in zip(mask.shape, block, strict=True)]
    return {
        at
        for at in itertools.product(*starts)
        if mask[tuple(slice(a, a + b) for a, b in zip(at, block, strict=True))].sum() >= min_count
    }


def listed(blocks: CoveredBlocks) -> set[tuple[int, ...]]:
    every = itertools.product(*map(range, blocks.shape))
    return {at for at in every if blocks.has(np.array(at))}


@pytest.mark.parametrize("block", [(1, 1, 1), (2, 3, 4), (7, 8, 9), (1, 8, 2)])
@pytest.mark.parametrize("density", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 1.0])
def test_every_block_is_judged_to_the_voxel(
    block: tuple[int, int, int], density: float, part: float
) -> None:
    """For masks of all densities, and from no voxel to all of them."""
    mask = (RNG.random((7, 8, 9)) < density).astype(np.uint8)
    min_count = int(part * np.prod(block))

    found = find_covered_blocks(iter(mask), (7, 8, 9), block, min_count)

    expected = by_looking(mask, block, min_count)
    assert listed(found) == expected
    assert found.num_blocks == len(expected)
    assert found.are_all == (len(expected) == np.prod(found.shape))
    most = by_looking(mask, block, found.max_count)
    assert most and not by_looking(mask, block, found.max_count + 1)


def test_each_block_of_a_region_is_picked_as_often() -> None:
    """And none that is not covered, or outside."""
    mask = (RNG.random((4, 6, 9)) < 0.6).astype(np.uint8)
    blocks = find_covered_blocks(iter(mask), (4, 6, 9), (1, 2, 3), 4)
    lowest, highest = np.array([0, 1, 1]), np.array([2, 3, 5])
    inside = {
        at for at in listed(blocks) if (lowest <= at).all() and (np.array(at) <= highest).all()
    }

    picked = [tuple(blocks.pick_within(RNG, lowest, highest).tolist()) for _ in range(3000)]

    assert blocks.num_within(lowest, highest) == len(inside)
    assert set(picked) == inside
    counts = [picked.count(each) for each in inside]
    assert max(counts) < 3 * min(counts)


@pytest.mark.parametrize("min_masked", [0.1, 1 / 3, 0.5, 0.7, 1.0])
def test_a_dataset_is_searched_where_its_ground_truth_is(
    make_dataset: Callable[..., Dataset], min_masked: float
) -> None:
    """Fractions are compared as a mean of the block would be."""
    mask = (RNG.random((10, 10, 10)) < 0.5).astype(np.uint8)
    gt = np.ones((10, 10, 10), np.uint8)
    dataset = make_dataset(np.zeros((20, 20, 20), np.uint8), gt, mask, gt_offset=(3, 5, 7))

    found = covered_blocks(dataset, np.array((3, 3, 3)), min_masked)

    starts = itertools.product(range(8), repeat=3)
    assert listed(found) == {
        (z, y, x)
        for z, y, x in starts
        if mask[z : z + 3, y : y + 3, x : x + 3].mean() >= min_masked
    }


def test_what_was_found_is_kept_until_the_mask_changes(
    make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    """A second run does not read the mask; a spoiled file is made anew."""
    mask = (RNG.random((10, 10, 10)) < 0.5).astype(np.uint8)
    volume = np.ones((10, 10, 10), np.uint8)
    dataset = make_dataset(volume, volume, mask)
    searches: list[Any] = []
    search = find_covered_blocks

    def counted(*arguments: Any) -> CoveredBlocks:
        searches.append(arguments)
        return search(*arguments)

    monkeypatch.setattr(mask_coverage_cache, "find_covered_blocks", counted)
    block = np.array((3, 3, 3))
    first = covered_blocks(dataset, block, 0.5)
    second = covered_blocks(dataset, block, 0.5)
    assert len(searches) == 1
    assert listed(second) == listed(first)

    (kept,) = cache_folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:-30])
    assert listed(covered_blocks(dataset, block, 0.5)) == listed(first)
    assert len(searches) == 2

    assert dataset.mask is not None and isinstance(dataset.mask.info.path, Path)
    chunk = next(dataset.mask.info.path.glob("[0-9]*"))
    os.utime(chunk, (1, 1))
    covered_blocks(dataset, block, 0.5)
    covered_blocks(dataset, block, 0.6)
    assert len(searches) == 4


def test_a_search_that_takes_long_is_no_hang(
    make_dataset: Callable[..., Dataset], spec_of: Callable[..., StreamSpec]
) -> None:
    """Datasets are opened on threads of their own, and the stream waits for them."""
    mask = (RNG.random((10, 10, 10)) < 0.5).astype(np.uint8)
    volume = np.ones((10, 10, 10), np.uint8)
    spec = spec_of(make_dataset(volume, volume, mask), min_masked=0.4)
    with SECTIONS.section(Section.DATA):
        SECTIONS.tick(50.0)

        DatasetMixture(spec).open()

        assert SECTIONS.silent_s(threading.get_ident()) == 0.0


def test_a_full_disk_only_costs_the_next_search(
    make_dataset: Callable[..., Dataset], cache_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be kept is worked out each time, and the log says so."""
    cache_folder.parent.parent.mkdir(parents=True)
    cache_folder.parent.write_text("a file where the folder should be")
    volume = np.ones((10, 10, 10), np.uint8)
    mask = (RNG.random((10, 10, 10)) < 0.5).astype(np.uint8)

    assert covered_blocks(make_dataset(volume, volume, mask), np.array((3, 3, 3)), 0.5).num_blocks
    assert "cannot cache what the mask covers" in caplog.text


@pytest.mark.parametrize("with_points", [False, True])
def test_a_needle_in_a_haystack_is_found(
    make_dataset: Callable[..., Dataset], with_points: bool
) -> None:
    """Where 2000 random blocks are not covered, one of those that are is taken."""
    volume = np.ones((60, 60, 60), np.uint8)
    mask = np.zeros_like(volume)
    mask[50:53, 8:11, 30:33] = 1
    points = [(51.5 * 8, 9.5 * 8, 31.5 * 8), (8.0, 8.0, 8.0)] if with_points else []
    dataset = make_dataset(volume, volume, mask, points_nm=points)
    location = RandomLocation(dataset, block_shape=(3, 3, 3), min_masked=1.0)

    for seed in range(3):
        block = location.pick(np.random.default_rng(seed)) / dataset.raw.voxel_size
        assert tuple(block.begin) == (50, 8, 30)

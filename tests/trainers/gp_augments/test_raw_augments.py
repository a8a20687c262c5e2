"""What the augments of raw do to it."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import numpy.typing as npt
import pytest

from trainers.errors import ConfigError
from trainers.gp_augments import (
    AugmentConfig,
    BlurAugmentConfig,
    ContrastAugmentConfig,
    CutoutAugmentConfig,
    DefectsAugmentConfig,
)

RAW, GT, MASK = (gp.ArrayKey(name) for name in ("RAW_HERE", "GT_HERE", "MASK_HERE"))
TEXTURE = np.random.default_rng(0).random((2, 12, 20, 20), np.float32)


class _Source(gp.BatchProvider):
    def __init__(self, raw: npt.NDArray[Any]) -> None:
        self.raw = raw
        self.roi = gp.Roi((0,) * (raw.ndim - 1), raw.shape[1:])

    def setup(self) -> None:
        self.provides(RAW, gp.ArraySpec(self.roi, (1,) * self.roi.dims, interpolatable=True))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        batch = gp.Batch()
        batch[RAW] = gp.Array(self.raw.copy(), self.spec[RAW])
        return batch


def changed(
    augment: AugmentConfig, raw: npt.NDArray[Any] = TEXTURE, seed: int = 3
) -> npt.NDArray[np.float32]:
    source = _Source(raw)
    pipeline = source + augment.node(RAW, GT, MASK)
    request = gp.BatchRequest(random_seed=seed)
    with gp.build(pipeline):
        request[RAW] = gp.ArraySpec(source.roi)
        result: npt.NDArray[np.float32] = pipeline.request_batch(request)[RAW].data
    assert result.dtype == np.float32
    assert result.shape == raw.shape
    return result


EVERY = [
    BlurAugmentConfig(sigma=(0.5, 2.0)),
    ContrastAugmentConfig(scale=(0.5, 1.5), shift=(-0.2, 0.2)),
    CutoutAugmentConfig(max_boxes=5, size=(4, 6, 6)),
    DefectsAugmentConfig(missing=0.2, low_contrast=0.2, shifted=0.2),
]


@pytest.mark.parametrize("augment", EVERY, ids=lambda each: type(each).__name__)
def test_the_seed_decides(augment: AugmentConfig) -> None:
    """Equal seeds give equal bits, others do not; bytes give what floats give; all is in 0..1."""
    assert augment.thread_safe
    assert np.array_equal(changed(augment), changed(augment))
    assert any(
        not np.array_equal(changed(augment, seed=seed), changed(augment)) for seed in range(5)
    )
    as_bytes = (TEXTURE * 255).astype(np.uint8)
    as_floats = as_bytes.astype(np.float32) / np.float32(255)
    assert np.array_equal(changed(augment, as_bytes), changed(augment, as_floats))
    assert changed(augment).min() >= 0 and changed(augment).max() <= 1


def test_blur_takes_away_what_is_sharp_and_keeps_the_mean() -> None:
    """A single bright voxel becomes a Gaussian of the width that was asked for."""
    point = np.zeros((1, 21, 21, 21), np.float32)
    point[0, 10, 10, 10] = 1

    blurred = changed(BlurAugmentConfig(sigma=(2.0, 2.0)), point)
    assert abs(blurred.sum() - 1) < 1e-4
    distance = np.arange(21) - 10
    assert abs((blurred.sum((0, 2, 3)) * distance**2).sum() - 4) < 0.1

    in_sections = changed(BlurAugmentConfig(sigma=(2.0, 2.0), in_sections=True), point)
    assert np.count_nonzero(in_sections.sum((0, 2, 3))) == 1
    assert np.count_nonzero(in_sections.sum((0, 1, 3))) > 1


def test_contrast_differs_from_section_to_section() -> None:
    """The spread of each is scaled by another factor, which lies in the interval."""
    spread = TEXTURE.std((0, 2, 3))

    augment = ContrastAugmentConfig(scale=(0.5, 1.5), shift=(0.0, 0.0), clip=False)
    factors = changed(augment).std((0, 2, 3)) / spread

    assert factors.min() > 0.45 and factors.max() < 1.55
    assert len(np.unique(factors.round(4))) == 12


@pytest.mark.parametrize("which", ["missing", "low_contrast", "shifted"])
def test_each_defect_is_what_it_is_called(which: str) -> None:
    """With a probability of 1 all sections have it."""
    spoiled = changed(DefectsAugmentConfig(**{which: 1.0}, max_shift=3))

    if which == "missing":
        assert not spoiled.any()
    elif which == "low_contrast":
        assert np.allclose(spoiled.std((0, 2, 3)), 0.1 * TEXTURE.std((0, 2, 3)), rtol=1e-3)
        assert np.allclose(spoiled.mean((0, 2, 3)), TEXTURE.mean((0, 2, 3)))
    else:
        shifts = {
            (dy, dx)
            for section, before in zip(spoiled.swapaxes(0, 1), TEXTURE.swapaxes(0, 1), strict=True)
            for dy in range(-3, 4)
            for dx in range(-3, 4)
            if np.array_equal(section[:, 5:15, 5:15], before[:, 5 - dy : 15 - dy, 5 - dx : 15 - dx])
        }
        assert len(shifts) > 5


def test_defects_are_as_frequent_as_they_should_be() -> None:
    """Of 1000 sections a quarter is lost."""
    raw = np.ones((1, 1000, 2, 2), np.float32)

    lost = 1 - changed(DefectsAugmentConfig(missing=0.25), raw).mean()

    assert 0.2 < lost < 0.3


def test_cutout_replaces_boxes_by_the_mean() -> None:
    """Nothing else changes, and with a probability of 0 nothing at all."""
    augment = CutoutAugmentConfig(max_boxes=3, size=(4, 6, 6))
    hidden = changed(augment) != TEXTURE

    assert np.allclose(changed(augment)[hidden], TEXTURE.mean())
    assert 0 < hidden.sum() <= 3 * 2 * 4 * 6 * 6
    never = CutoutAugmentConfig(max_boxes=3, size=(4, 6, 6), probability=0.0)
    assert np.array_equal(changed(never), TEXTURE)


def test_images_are_sections() -> None:
    """In 2-D there is one, and a box needs two lengths."""
    image = TEXTURE[:, 0]
    assert not changed(DefectsAugmentConfig(missing=1.0), image).any()
    assert not np.array_equal(changed(CutoutAugmentConfig(max_boxes=9, size=(5, 5)), image), image)
    with pytest.raises(Exception) as caught:
        changed(CutoutAugmentConfig(max_boxes=9, size=(5, 5)))
    assert "the cutout augment has 2 values of size" in str(caught.value)
    assert ConfigError.__name__ in str(caught.value)


def test_defects_exclude_each_other() -> None:
    """Their probabilities add up to 1 at most."""
    with pytest.raises(ValueError, match=r"found probabilities of 0\.5, 0\.5 and 0\.1"):
        DefectsAugmentConfig(missing=0.5, low_contrast=0.5, shifted=0.1)

"""What every augment config promises. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class AugmentConfig(ABC):
    """A random change of samples. Subclass it for an augment of your own."""

    thread_safe: ClassVar[bool] = False
    """Whether `node` returns a `ThreadSafeNode`. If all augments do, the workers are threads of the
    trainer; otherwise they are processes, which take longer to start and more memory."""

    @abstractmethod
    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        """Return a new gunpowder node that applies this augment; heavy imports belong in here.

        Its output must depend on its input and on `request.random_seed` only. Raw is float32
        [C, z, y, x], mostly within 0..1; ground truth and mask are integers [z, y, x].
        """

    def scaled(self, units_per_nm: int) -> AugmentConfig:
        """Return the same augment with lengths in world units instead of nm, for `node`."""
        return self

    def doubts(self, input_shape: tuple[int, ...]) -> tuple[str, ...]:
        """Return warnings for inputs of this shape in voxels, such as that it has no effect."""
        return ()


def are_thread_safe(augments: Iterable[AugmentConfig]) -> bool:
    """Return whether workers that apply all of these can be threads of one process."""
    return all(augment.thread_safe for augment in augments)

"""What the training loop tells of its state, so that it can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.random_state import RandomState


class Saving(ABC):
    """Is told of every iteration, once trainer, model and optimizer agree on it."""

    @abstractmethod
    def go_on(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        """Save if it is time to, without holding the training up; a failure is no more than that.

        Args:
            iteration: How many are done.
            row: The scalars of the last one.
            random_state: With which the next one begins.
        """

    @abstractmethod
    def end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        """Save, as the training ends here; on return that is done.

        Raises:
            CheckpointError: It cannot be.
        """


class NoSaving(Saving):
    """Leaves it to another rank."""

    def go_on(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        pass

    def end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        pass

"""What every trainer config promises. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, gt, min_len

if TYPE_CHECKING:
    from trainers.trainer import Trainer


@frozen(kw_only=True)
class TrainerConfig(ABC):
    """How a network is trained."""

    name: str = field(validator=min_len(1))
    batch_size: int = field(validator=ge(1))
    """Samples per iteration."""
    learning_rate: float = field(validator=gt(0))
    """The highest learning rate; a schedule scales it down."""

    @property
    @abstractmethod
    def trainer_type(self) -> type[Trainer]:
        """The class that this config configures; asking for it imports torch."""

    @abstractmethod
    def build(self) -> Trainer: ...

    @abstractmethod
    def verify(self) -> tuple[bool, str]:
        """Whether a run with this config can be of use, and the reason."""

"""The base of trainer configs. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, gt, min_len

from trainers.datasets.dataset_config import ReadingConfig
from trainers.distributed.rank_info import uneven_batch

if TYPE_CHECKING:
    from trainers.stream.worker_pool import WorkerPool
    from trainers.trainer import Trainer


@frozen(kw_only=True)
class TrainerConfig(ABC):
    """How a network is trained."""

    name: str = field(validator=min_len(1))
    """For people to read; by default that of the experiment."""
    batch_size: int = field(validator=ge(1))
    """Samples per iteration."""
    learning_rate: float = field(validator=gt(0))
    """The peak learning rate; a schedule scales it down."""

    @property
    def exact_across_ranks(self) -> bool:
        """Whether weights and metrics have the same bits on any number of ranks."""
        return False

    @property
    def data_timeout_s(self) -> float:
        """Seconds for which a run waits for data that are away."""
        return ReadingConfig().timeout_s

    @property
    @abstractmethod
    def trainer_type(self) -> type[Trainer]:
        """The trainer class of this config; reading it imports torch."""

    @abstractmethod
    def build(self) -> Trainer: ...

    def worker_pool(self, num_local_ranks: int) -> WorkerPool:
        """Return the worker processes that each of the ranks on a node needs.

        They are started before torch is imported, since they import much themselves.
        """
        from trainers.stream.worker_pool import WorkerPool

        return WorkerPool()

    @abstractmethod
    def verify(self) -> tuple[bool, str]:
        """Return whether a run with this config makes sense, and the reason."""

    def verify_ranks(self, num_ranks: int) -> tuple[bool, str]:
        """Return whether this number of ranks can share each batch, and the reason."""
        if self.batch_size % num_ranks:
            return False, uneven_batch(self.batch_size, num_ranks)
        return True, "the ranks share each batch evenly"

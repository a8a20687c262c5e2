"""What a trainer can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import field, frozen

from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.run.atomic_write import Fence, unfenced
from trainers.run.run_folder import RunFolder
from trainers.stream.worker_pool import WorkerPool

if TYPE_CHECKING:
    import torch

    from trainers.architectures.model import Model
    from trainers.datasets.dataset import Dataset
    from trainers.tasks.task import Task
    from trainers.training_iteration_stats import TrainingIterationStats


@frozen(kw_only=True)
class TrainingContext:
    """What surrounds a training: given to a trainer once, before anything else."""

    seed: int = 0
    """The run's; what is drawn in an iteration depends on this and on the iteration alone."""
    ranks: ProcessGroup = ALONE
    """The ranks that share each batch."""
    folder: RunFolder | None = None
    """Of the run; None outside of one, where nobody else may write."""
    memory_bytes: int | None = None
    """What this rank may use; None: not known."""
    workers: WorkerPool = field(factory=WorkerPool)
    """Where processes that make samples come from."""

    @property
    def fence(self) -> Fence:
        """To be asked before a file of the run is made final."""
        return self.folder.fence if self.folder else unfenced


class Trainer(ABC):
    """Makes a model learn, one iteration at a time.

    A trainer is a context manager: whatever it starts (data workers, writer threads) lives inside
    of the `with` block and is gone after it.
    """

    iteration: int
    """Iterations completed so far, over all restarts."""

    batch_size: int
    """Samples of an iteration, over all ranks."""

    learning_rate: float
    """The highest learning rate; the optimizer's schedule scales it down."""

    context: TrainingContext = TrainingContext()
    """Set it before `build_batch_provider`."""

    @abstractmethod
    def create_optimizer(self, model: Model) -> torch.optim.Optimizer:
        """An optimizer for the model's parameters, before its first step."""

    @abstractmethod
    def iterate(
        self,
        num_iterations: int,
        model: Model,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> Iterator[TrainingIterationStats]:
        """Train for `num_iterations` more iterations, yielding after each one.

        At every yield `self.iteration`, the model and the optimizer agree, so that the caller may
        save them there, or break out for good. All ranks make the same steps and report the same
        loss, that of the whole batch.
        """

    @abstractmethod
    def can_train(self, datasets: Sequence[Dataset]) -> bool:
        """Whether these datasets are enough to train with; logs which one is not, and why."""

    @abstractmethod
    def build_batch_provider(
        self,
        datasets: Sequence[Dataset],
        model: Model,
        task: Task,
        snapshot_container: Path | None = None,
    ) -> None:
        """Prepare the data pipeline; it starts when the trainer is entered.

        Args:
            model: Tells which shapes to cut out of the volumes.
            task: Turns ground truth into targets and weights.
            snapshot_container: The OME-Zarr folder for pictures of what the trainer saw; for one
                rank only.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the trainer itself must remember over a restart, once it is prepared.

        Tensors are its own, and change with the next iteration.
        """
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave, of which it copies what it keeps.

        The trainer is prepared by then.
        """
        self.iteration = state["iteration"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

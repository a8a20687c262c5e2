"""The interface of trainers, and the context that they train in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import field, frozen

from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.run.atomic_write import Fence, unfenced
from trainers.run.backoff import never
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
    """The surroundings of a training, given to a trainer once, before anything else."""

    seed: int = 0
    """Of the run; random draws in an iteration depend on this and on the iteration alone."""
    ranks: ProcessGroup = ALONE
    """The ranks that share each batch."""
    folder: RunFolder | None = None
    """Of the run; None outside of a run."""
    memory_bytes: int | None = None
    """Memory that this rank may use; None if unknown."""
    left_out: frozenset[int] = frozenset()
    """Iterations whose optimizer step is not taken, since it was found to spoil the weights."""
    workers: WorkerPool = field(factory=WorkerPool)
    """Processes that were started early, to make samples."""
    should_stop: Callable[[], bool] = never
    """Whether this rank was asked to stop: to be polled wherever a trainer waits, and followed by
    a StopRequestedError between two iterations."""

    @property
    def fence(self) -> Fence:
        """The check to call before a file of the run is made final."""
        return self.folder.fence if self.folder else unfenced


class Trainer(ABC):
    """Trains a model, one iteration at a time.

    A trainer is a context manager: data workers and threads that it starts end with the `with`
    block.
    """

    iteration: int
    """Iterations completed so far, over all restarts."""

    batch_size: int
    """Samples per iteration, over all ranks."""

    learning_rate: float
    """The peak learning rate; the optimizer's schedule scales it down."""

    context: TrainingContext = TrainingContext()
    """To be set before `build_batch_provider`."""

    @abstractmethod
    def create_optimizer(self, model: Model) -> torch.optim.Optimizer:
        """Return a new optimizer for the model's parameters."""

    @abstractmethod
    def iterate(
        self,
        num_iterations: int,
        model: Model,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> Iterator[TrainingIterationStats]:
        """Train for `num_iterations` more iterations, yielding after each one.

        At every yield `self.iteration`, the model and the optimizer are at the same iteration, so
        that the caller may save a checkpoint there, or end the loop. All ranks take the same steps
        and report the same loss, that of the whole batch.

        Raises:
            StopRequestedError, DataError, StreamError: The samples of the next iteration did not
                come. All ranks raise one of these, with `self.iteration`, the model and the
                optimizer as they were at the last yield: see `ProcessGroup.all_or_none`. The
                caller saves that state.
        """

    @abstractmethod
    def can_train(self, datasets: Sequence[Dataset]) -> bool:
        """Return whether the datasets suffice for training; log which one does not, and why."""

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
            model: Gives the input and output shapes of samples.
            task: Turns ground truth into targets and weights.
            snapshot_container: The OME-Zarr folder for snapshots; given to rank 0 only.
        """

    @property
    def verified_iteration(self) -> int | None:
        """Completed iterations up to which steps were verified; None if that is not done."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the trainer itself for a checkpoint, after `build_batch_provider`.

        Tensors are not copied: the next iteration changes them.
        """
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state dict, after `build_batch_provider`; tensors are copied."""
        self.iteration = state["iteration"]

    def __enter__(self) -> Self:
        return self

    # Three typed parameters: the published signature, which overrides may repeat.
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

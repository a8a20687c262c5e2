"""The config of training on crops that a gunpowder pipeline cuts out of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, gt, in_, le, lt, optional

from trainers.datasets.dataset_config import ReadingConfig
from trainers.gp_augments.augment_config import AugmentConfig, are_thread_safe
from trainers.gp_augments.intensity_configs import IntensityScaleShiftAugmentConfig
from trainers.gp_augments.raw_augment_config import RawAugmentConfig
from trainers.optimizers.optimizer_configs import OptimizerConfig, RAdamConfig
from trainers.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from trainers.gunpowder_trainer import GunpowderTrainer
    from trainers.stream.worker_pool import WorkerPool

Precision = Literal["fp32", "bf16", "fp16"]
NonFinitePolicy = Literal["stop", "skip", "rewind"]


@frozen(kw_only=True)
class GunpowderTrainerConfig(TrainerConfig):
    """Trains on random crops of the datasets, new ones in every iteration."""

    num_data_fetchers: int = field(default=5, validator=ge(0))
    """Workers that prefetch samples, on each node; its ranks share them, and each has at least one.
    They are threads, or processes if an augment is not thread-safe. 0 makes samples when they are
    needed. The samples do not depend on it."""
    augments: tuple[AugmentConfig, ...] = field(default=(), converter=tuple)
    """Applied in this order."""
    snapshot_interval: int | None = field(default=None, validator=optional(ge(1)))
    """Iterations between two snapshots, the first at iteration 0."""
    min_masked: float | None = field(
        default=0.15,
        validator=optional([ge(0), le(1)]),  # type: ignore[arg-type]  # the default is no None
    )
    """Fraction of a crop's output that the mask must cover; other crops are rejected."""
    clip_raw: bool = True
    """Whether raw outside of the ground truth's extent reads as 0."""
    reading: ReadingConfig = field(factory=ReadingConfig)
    """Cache and patience of reads."""
    optimizer: OptimizerConfig = field(factory=RAdamConfig)
    """Which optimizer, and the schedule of its learning rate."""
    precision: Precision = field(default="fp32", validator=in_(get_args(Precision)))
    """Mixed precision: the type of torch's autocast. With fp16 the loss is scaled so that gradients
    do not underflow, and an iteration in which they overflow leaves the weights as they are.
    Weights, loss, gradients of weights and optimizer state are always float32."""
    micro_batch_size: int | None = field(default=None, validator=optional(ge(1)))
    """Gradient accumulation: samples of one forward and backward pass on a rank. Smaller ones need
    less memory. By default all of a rank's samples, or one if `exact_across_ranks`."""
    max_gradient_norm: float | None = field(default=None, validator=optional(gt(0)))
    """Gradient clipping: the largest L2 norm of the gradients of all weights together."""
    ema_decay: float | None = field(default=None, validator=optional([gt(0), lt(1)]))
    """Decay of an exponential moving average of weights and buffers; None for no average.
    `load_model(…, averaged=True)` returns the averaged network."""
    non_finite: NonFinitePolicy = field(default="stop", validator=in_(get_args(NonFinitePolicy)))
    """What to do if loss, gradients or weights become NaN or infinite. `stop` ends the run before
    the optimizer step; `skip` leaves that step out; `rewind` goes back to the last good checkpoint
    and leaves the step out then. After ten such steps in a row the run ends anyway. May be changed
    for a run that has stopped: it continues from there."""
    verify_every: int | None = field(default=None, validator=optional(ge(1)))
    """Compute each multiple of it twice and compare the bits. If they differ, the node computes
    wrongly: the run goes back to the newest checkpoint up to the last iteration that was verified,
    on another node. None: never."""
    exact_across_ranks: bool = False
    """Whether weights and metrics have the same bits on any power of two of ranks that divides the
    number of micro-batches; a run may resume on another such number. Batch normalization sees one
    micro-batch at a time, and changes of buffers are averaged. On CPUs each rank computes with one
    thread, whatever `resources.cpus`. See docs/decisions/003-exact-on-any-number-of-ranks.md."""

    def __attrs_post_init__(self) -> None:
        if self.batch_size % self.effective_micro_batch_size:
            raise ValueError(
                f"micro_batch_size: found {self.micro_batch_size}; must divide batch_size "
                f"({self.batch_size})"
            )

    @property
    def effective_micro_batch_size(self) -> int:
        """The micro-batch size on a single rank."""
        if self.micro_batch_size is not None:
            return self.micro_batch_size
        return 1 if self.exact_across_ranks else self.batch_size

    @property
    def data_timeout_s(self) -> float:
        return self.reading.timeout_s

    @property
    def thread_safe(self) -> bool:
        """Whether samples can be made in threads: all augments are thread-safe."""
        return are_thread_safe(self.augments)

    @property
    def trainer_type(self) -> type[GunpowderTrainer]:
        from trainers.gunpowder_trainer import GunpowderTrainer

        return GunpowderTrainer

    def build(self) -> GunpowderTrainer:
        return self.trainer_type(self)

    def num_data_workers(self, num_local_ranks: int) -> int:
        """Return a rank's share of the node's workers, at least one if there are any."""
        return min(self.num_data_fetchers, max(1, self.num_data_fetchers // num_local_ranks))

    def worker_pool(self, num_local_ranks: int) -> WorkerPool:
        from trainers.stream.worker_pool import WorkerPool

        if self.thread_safe:
            return WorkerPool()
        return WorkerPool(self.num_data_workers(num_local_ranks), self.augments)

    def verify(self) -> tuple[bool, str]:
        low, high = 0.0, 1.0
        for position, augment in enumerate(self.augments):
            if isinstance(augment, IntensityScaleShiftAugmentConfig):
                low, high = sorted(end * augment.scale + augment.shift for end in (low, high))
            elif (
                isinstance(augment, RawAugmentConfig)
                and augment.needs_0_to_1
                and (low < 0 or high > 1)
            ):
                return False, (
                    f"augments.{position} needs raw within 0..1, but the scale and shift before "
                    f"it turn that into {low:g}..{high:g}; move it to the front"
                )
        return True, "all values go together"

    def verify_ranks(self, num_ranks: int) -> tuple[bool, str]:
        if self.exact_across_ranks:
            size = self.effective_micro_batch_size
            num_micro_batches = self.batch_size // size
            if num_ranks not in (good := _powers_of_two_that_divide(num_micro_batches)):
                return False, (
                    f"trainer.exact_across_ranks: {num_ranks} ranks (nodes x gpus in resources) "
                    f"cannot add up the {num_micro_batches} micro-batches of a batch (batch_size "
                    f"{self.batch_size} / micro_batch_size {size}) in the order "
                    f"of a single rank; numbers of ranks that can: {', '.join(map(str, good))}"
                )
        can_share, reason = super().verify_ranks(num_ranks)
        part = self.batch_size // num_ranks
        if can_share and self.micro_batch_size and part % self.micro_batch_size:
            good = [size for size in range(1, part + 1) if part % size == 0]
            return False, (
                f"trainer.micro_batch_size is {self.micro_batch_size}, which does not divide the "
                f"{part} samples of each batch that each of the {num_ranks} ranks of the run "
                f"(nodes x gpus in resources) has; sizes that do: {', '.join(map(str, good))}"
            )
        return can_share, reason


def _powers_of_two_that_divide(number: int) -> list[int]:
    largest = number & -number  # the lowest set bit
    return [1 << exponent for exponent in range(largest.bit_length())]

"""Torch's optimizers, as configs. Light: torch is imported by `build`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, max_len, min_len

from trainers.optimizers.schedule_configs import LinearWarmUpScheduleConfig, ScheduleConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class OptimizerConfig(ABC):
    """One of torch's optimizers, with torch's defaults, and a schedule of the learning rate."""

    schedule: ScheduleConfig = field(
        default=LinearWarmUpScheduleConfig(iterations=1000, start_factor=0.01)
    )
    """Factor of the trainer's learning rate, by iteration."""
    weight_decay: float = field(default=0.0, validator=ge(0))
    """L2 penalty; decoupled from the gradients where the optimizer says so."""

    @abstractmethod
    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """Return an optimizer at the full learning rate; the trainer applies the schedule."""


@frozen(kw_only=True)
class AdaptiveOptimizerConfig(OptimizerConfig):
    """An optimizer that scales steps by running means of the gradient and its square."""

    betas: tuple[float, float] = field(
        default=(0.9, 0.999), validator=[min_len(2), max_len(2), deep_iterable(and_(ge(0), lt(1)))]
    )
    """Decay of the two running means."""
    eps: float = field(default=1e-8, validator=gt(0))
    """Added to the denominator."""


@frozen(kw_only=True)
class AdamConfig(AdaptiveOptimizerConfig):
    """`torch.optim.Adam` (Kingma and Ba, 2015)."""

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


@frozen(kw_only=True)
class AdamWConfig(AdaptiveOptimizerConfig):
    """`torch.optim.AdamW`: Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    weight_decay: float = field(default=0.01, validator=ge(0))
    """Decoupled from the gradients."""

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


@frozen(kw_only=True)
class RAdamConfig(AdaptiveOptimizerConfig):
    """`torch.optim.RAdam`: Adam with rectified variance in early iterations (Liu et al., 2020)."""

    decoupled_weight_decay: bool = False
    """Whether weight decay is that of AdamW."""

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RAdam(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled_weight_decay,
        )


@frozen(kw_only=True)
class SGDConfig(OptimizerConfig):
    """`torch.optim.SGD`."""

    momentum: float = field(default=0.0, validator=[ge(0), lt(1)])
    """Decay of the running sum of gradients."""
    nesterov: bool = False
    """Use Nesterov momentum."""

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: found true; needs a momentum above 0")

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(
            parameters,
            lr=learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )

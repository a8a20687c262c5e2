"""A network with a head and activation for a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.custom_config import CustomArchitectureConfig
from trainers.errors import ConfigError

_CONVOLUTION: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}


class Model(nn.Module):
    """A network from raw `[B, C, *input_shape]` to channels `[B, K, *output_shape]`.

    In training mode it returns logits, which the losses take; in evaluation mode, predictions.
    """

    def __init__(
        self,
        architecture: nn.Module,
        head: nn.Module,
        activation: nn.Module,
        *,
        in_channels: int,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        scale: Callable[[tuple[float, ...]], tuple[float, ...]],
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.head = head
        self.activation = activation
        self.in_channels = in_channels
        self.input_shape = input_shape
        self.output_shape = output_shape
        self._scale = scale

    def scale(self, voxel_size: tuple[float, ...]) -> tuple[float, ...]:
        """Return the voxel size of the output, given that of the input."""
        return self._scale(voxel_size)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.architecture(raw))
        if self.training:
            return logits
        prediction: torch.Tensor = self.activation(logits)
        return prediction


def build_model(
    config: ArchitectureConfig,
    *,
    num_channels: int,
    activation: nn.Module,
    in_channels: int,
    seed: int,
    is_restored: bool = False,
) -> Model:
    """Return a new model on the CPU; the same seed gives the same weights, bit for bit.

    Torch's global random state is left as it was.

    Args:
        num_channels: Channels of the task.
        activation: Turns logits into the prediction.
        in_channels: Channels of raw.
        is_restored: All weights will be loaded, so that they need not be initialized.

    Raises:
        ConfigError: A user's module cannot be built, or its output is not what the config says.
    """
    setting = _SkipInitialization() if is_restored and config.is_all_state else nullcontext()
    with torch.random.fork_rng(devices=[]), setting:
        torch.default_generator.manual_seed(seed)
        model = Model(
            config.build(in_channels),
            _head(config, num_channels),
            activation,
            in_channels=in_channels,
            input_shape=config.input_shape,
            output_shape=config.output_shape,
            scale=config.scale,
        )
        if isinstance(config, CustomArchitectureConfig):
            _check_output(model.architecture, config, in_channels, num_channels)
    return model.train()


class _SkipInitialization(TorchFunctionMode):
    """A mode in which the functions of `torch.nn.init` return their tensor unchanged.

    Layers call them in their constructors. Unlike building on the meta device, this leaves tensors
    with memory on the CPU, and values that are not set by `torch.nn.init` as they are.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        options = options or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return options["tensor"]
        return function(*args, **options)


def _head(config: ArchitectureConfig, num_channels: int) -> nn.Module:
    if config.out_channels is None:
        return nn.Identity()
    return _CONVOLUTION[len(config.input_shape)](config.out_channels, num_channels, kernel_size=1)


def _check_output(
    module: nn.Module, config: CustomArchitectureConfig, in_channels: int, num_channels: int
) -> None:
    given = (1, in_channels, *config.input_shape)
    expected = (1, config.out_channels or num_channels, *config.output_shape)
    try:
        with torch.no_grad():
            result = module.eval()(torch.zeros(given))
    except RuntimeError as error:
        raise ConfigError(f"{config.import_path} fails on zeros of {given}: {error}") from error
    found = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
    if found != expected:
        raise ConfigError(
            f"{config.import_path} turns {given} into {found}; must turn it into {expected}: "
            "samples, the config's out_channels or else those of the task, the config's "
            "output_shape"
        )

"""A user's own network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable, ge, max_len, min_len, optional

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.errors import ConfigError
from trainers.imports import is_import_path, load_object

if TYPE_CHECKING:
    import torch


def _import_path(_: object, __: Attribute[Any], text: str) -> None:
    if not is_import_path(text):
        raise ValueError(f"must have the form package.module:Name; found {text!r}")


@frozen(kw_only=True)
class CustomArchitectureConfig(ArchitectureConfig):
    """Any `torch.nn.Module` class, or function that returns a module, by its import path."""

    import_path: str = field(validator=_import_path)
    """It is called with `in_channels` and the `arguments`, as keywords."""
    arguments: dict[str, Any] = field(factory=dict)
    """Handed to the class by name, beside `in_channels`."""
    output_shape: tuple[int, ...] = field(validator=[min_len(2), max_len(3), deep_iterable(ge(1))])
    """`input_shape` by default."""
    out_channels: int | None = field(default=None, validator=optional(ge(1)))
    """Number of features that the module returns; a 1x1 convolution turns them into the task's
    channels. None: the module returns the task's channels itself, as logits."""

    @output_shape.default
    def _like_the_input(self) -> tuple[int, ...]:
        return self.input_shape

    def __attrs_post_init__(self) -> None:
        fits = len(self.output_shape) == len(self.input_shape) and all(
            size >= out and (size - out) % 2 == 0
            for size, out in zip(self.input_shape, self.output_shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"output_shape: found {list(self.output_shape)}; must lie in the middle of "
                f"input_shape {list(self.input_shape)}: as many axes, none longer, and each "
                "shorter by an even number of voxels"
            )

    def build(self, in_channels: int) -> torch.nn.Module:
        """Import and build the user's module.

        Raises:
            ConfigError: It cannot be imported or built, or is not a module.
        """
        import torch

        call = load_object(self.import_path)
        try:
            module = call(in_channels=in_channels, **self.arguments)
        except TypeError as error:
            raise ConfigError(
                f"cannot make {self.import_path} with in_channels={in_channels} and arguments "
                f"{self.arguments}: {error}"
            ) from error
        if not isinstance(module, torch.nn.Module):
            raise ConfigError(
                f"{self.import_path} makes a {type(module).__name__}; must make a torch.nn.Module"
            )
        return module

"""A user's own augment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen

from trainers.errors import ConfigError
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.imports import is_import_path, load_object

if TYPE_CHECKING:
    import gunpowder as gp


def _names_an_object(_: object, __: Attribute[str], value: str) -> None:
    if not is_import_path(value):
        raise ValueError(
            f"must be an import path such as `my_package.module:MyAugmentConfig`; found {value!r}"
        )


@frozen(kw_only=True)
class CustomAugmentConfig(AugmentConfig):
    """A subclass of `AugmentConfig`, named by its import path."""

    import_path: str = field(validator=_names_an_object)
    """Of a subclass of `trainers.AugmentConfig`, such as `my_module:MyAugmentConfig`."""
    arguments: dict[str, Any] = field(factory=dict)
    """Keyword arguments of the class."""
    in_threads: bool = False
    """Whether its node is a `ThreadSafeNode`, so that workers can be threads."""

    @property
    def thread_safe(self) -> bool:  # type: ignore[override]
        return self.in_threads

    def load(self) -> AugmentConfig:
        """Import and return the user's config.

        Raises:
            ConfigError: It cannot be imported, is not an AugmentConfig, or rejects the arguments.
        """
        cls = load_object(self.import_path)
        if not (isinstance(cls, type) and issubclass(cls, AugmentConfig)):
            raise ConfigError(
                f"{self.import_path!r} is {cls!r}; an augment must be a subclass of "
                "trainers.AugmentConfig"
            )
        try:
            return cls(**self.arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.import_path!r} refuses the arguments {self.arguments!r}: {error}"
            ) from error

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        return self.load().node(raw_key, gt_key, mask_key)

    def scaled(self, units_per_nm: int) -> AugmentConfig:
        return self.load().scaled(units_per_nm)

    def doubts(self, input_shape: tuple[int, ...]) -> tuple[str, ...]:
        return self.load().doubts(input_shape)

"""Packages that are known to make other samples, or none: refused before anything is computed.

What can be tried is tried: a version says little about a build that somebody has patched.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

import numpy as np
from packaging.requirements import Requirement

from trainers.errors import ConfigError

_PAIRS = (("numba", "numpy"), ("gunpowder", "zarr"))
"""Packages that cannot be imported beside versions of the other one that they do not allow."""


def check_packages() -> None:
    """Refuse packages that break what samples are made with.

    Raises:
        ConfigError: Some do; all of them are named.
    """
    with ThreadPoolExecutor(1) as other_thread:
        in_thread = other_thread.submit(_type_of_product).result()
    faults = [
        promotion_fault(_type_of_product(), in_thread),
        *(pair_fault(package, other) for package, other in _PAIRS),
    ]
    if found := [each for each in faults if each is not None]:
        raise ConfigError("\n".join(found))


def _type_of_product() -> str:
    return str((np.ones(1, np.float32) * np.float64(1)).dtype)


def promotion_fault(in_main: str, in_thread: str) -> str | None:
    """Return what is wrong if NumPy promotes types in another way than it should, or none.

    NumPy 2.1.0 and 2.1.1 promote in the legacy way in all threads but the main one, so that
    samples of threads differ from those of processes in the last bit.

    Args:
        in_main: The type of a float32 array times a float64 scalar, in the main thread.
        in_thread: The same in another thread.
    """
    if in_main == in_thread == "float64":
        return None
    return (
        f"NumPy {np.__version__} computes float32 array * float64 scalar as {in_main} in the main "
        f"thread and as {in_thread} in others; it must be float64 in all, or samples depend on "
        "what makes them: install numpy>=2.1.2, and unset NPY_PROMOTION_STATE"
    )


def pair_fault(package: str, other: str) -> str | None:
    """Return what is wrong if another package is installed in a version that this one refuses."""
    with suppress(PackageNotFoundError):
        found = version(other)
        for text in requires(package) or ():
            needs = Requirement(text)
            if needs.marker is not None and not needs.marker.evaluate({"extra": ""}):
                continue  # for another Python or system, or an extra
            if needs.name == other and not needs.specifier.contains(found, prereleases=True):
                return (
                    f"{package} {version(package)} needs {needs}, and {found} is installed: it "
                    f"cannot be imported. Install versions that fit, as `pip install {package} "
                    f"{other}` does in a new environment"
                )
    return None

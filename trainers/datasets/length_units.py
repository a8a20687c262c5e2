"""Units of length, as metadata spell them."""

from __future__ import annotations

_NM_PER_UNIT = {
    "picometer": 1e-3,
    "pm": 1e-3,
    "angstrom": 0.1,
    "å": 0.1,
    "nanometer": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micron": 1e3,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "millimeter": 1e6,
    "mm": 1e6,
    "centimeter": 1e7,
    "cm": 1e7,
    "meter": 1e9,
    "m": 1e9,
}


def nm_per(unit: str) -> float | None:
    """How many nm a unit has; None if it is not a known unit of length."""
    name = unit.strip().lower().replace("metre", "meter")
    return _NM_PER_UNIT.get(name if len(name) < 4 else name.removesuffix("s"))

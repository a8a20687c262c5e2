"""Draw curves as SVG text.

Not by matplotlib: a login node need not have it, and its texts would be outlines, which no search
finds and no dark mode turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from attrs import frozen

from launcher.report.differing_keys import show_number

WIDTH, HEIGHT = 720, 280
NUM_COLORS = 8
"""The page's style has as many: `.color-0` to `.color-7`."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 40
_MAX_TICKS = 6
_MANY = 12
"""Curves: above it they are thin."""
_LARGE_RATIO = 30.0
"""Between the ends of an axis: above it the axis is logarithmic."""

Point = tuple[float, float]
"""Iteration and value; a value that is NaN leaves a gap."""


@frozen(kw_only=True)
class Series:
    """The curve of a run."""

    name: str
    points: Sequence[Point]
    number: int
    """Of the run in the page: it decides color and dashes."""


@frozen
class Mark:
    """An iteration at which something happened, such as a stop."""

    iteration: float
    text: str


def line_style(number: int) -> str:
    """Return the classes of the run with a number: runs beyond the colors are dashed."""
    return f"color-{number % NUM_COLORS} dashes-{number // NUM_COLORS % 4} run-{number}"


def is_wide(values: Sequence[float]) -> bool:
    """Return whether values are for a logarithmic axis: all positive, and far apart."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > _LARGE_RATIO * min(finite)


def chart(series: Sequence[Series], marks: Sequence[Mark] = (), *, metric: str) -> str:
    """Return an `<svg>` with the curves of a metric; empty if there is no finite value."""
    values = [value for each in series for _, value in each.points if math.isfinite(value)]
    if not values:
        return ""
    iterations = [at for each in series for at, _ in each.points] + [m.iteration for m in marks]
    across = _Axis(0, max(iterations), _LEFT, WIDTH - _RIGHT, is_log=False)
    up = _Axis(min(values), max(values), HEIGHT - _BOTTOM, _TOP, is_log=is_wide(values))
    scale = ", logarithmic scale" if up.is_log else ""
    label = escape(
        f"{metric} over iterations, {show_number(min(values))} to {show_number(max(values))}{scale}"
    )
    style = "chart many" if len(series) > _MANY else "chart"
    return "\n".join(
        (
            f'<svg class="{style}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
            *_grid(across, up, metric),
            *_marks(marks, across),
            *(_curve(each, across, up) for each in series),
            "</svg>",
        )
    )


class _Axis:
    """Maps values to pixels, and knows where ticks belong."""

    def __init__(self, low: float, high: float, start: float, end: float, *, is_log: bool) -> None:
        self.is_log = is_log
        if high <= low:
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        self._low, self._high = self._position(low), self._position(high)
        self._start, self._end = start, end
        self._ends = low, high

    def pixel(self, value: float) -> float:
        share = (self._position(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        low, high = self._ends
        if self.is_log:
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            all_of = [step * 10.0**power for power in powers for step in (1, 2, 5)]
            inside = [tick for tick in all_of if low <= tick <= high]
            decades = [tick for tick in inside if f"{tick:.0e}".startswith("1")]
            return decades if len(inside) > _MAX_TICKS and len(decades) > 1 else inside
        rough = (high - low) / _MAX_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
        return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]

    def _position(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def _grid(across: _Axis, up: _Axis, metric: str) -> Iterator[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for tick in up.ticks():
        y = up.pixel(tick)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="end">{show_number(tick)}</text>'
    for tick in across.ticks():
        x = across.pixel(tick)
        yield f'<path class="grid" d="M{x:.1f} {bottom}v5"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" class="middle">{tick:.10g}</text>'
    yield f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 6}" class="middle">iteration</text>'
    height = (_TOP + bottom) / 2
    yield (
        f'<text x="14" y="{height}" class="middle" transform="rotate(-90 14 {height})">'
        f"{escape(metric)}</text>"
    )


def _marks(marks: Sequence[Mark], across: _Axis) -> Iterator[str]:
    for mark in marks:
        x = across.pixel(mark.iteration)
        yield (
            f'<g class="mark"><title>{escape(mark.text)}</title>'
            f'<path d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
            f'<path class="flag" d="M{x - 5:.1f} {_TOP - 8}h10l-5 8z"/></g>'
        )


def _curve(series: Series, across: _Axis, up: _Axis) -> str:
    path = ""
    for is_finite, part in groupby(series.points, key=lambda point: math.isfinite(point[1])):
        if is_finite:
            pixels = [f"{across.pixel(at):.1f} {up.pixel(value):.1f}" for at, value in part]
            path += f"M{'L'.join(pixels)}h0"  # h0: a single point is seen through its round ends
    return (
        f'<path class="curve {line_style(series.number)}" d="{path}">'
        f"<title>{escape(series.name)}</title></path>"
    )

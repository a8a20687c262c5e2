"""Draw a metric of several runs over iterations with matplotlib, for `launch compare --plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import LauncherError
from launcher.report.results import RunResult
from launcher.report.svg_chart import is_wide
from trainers.run.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_POINTS = 500
_MAX_LEGEND = 20


def plot_curves(results: Sequence[RunResult], metric: str, path: Path) -> None:
    """Write a plot; the ending of the path says in which format: .png, .svg, .pdf.

    Args:
        metric: The means of this over up to 500 parts of each run are drawn.

    Raises:
        LauncherError: matplotlib is not installed, cannot write this format, or no run has rows.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LauncherError(
            f"--plot needs matplotlib, which cannot be loaded ({error}): install it with "
            "`pip install 'launch-trainers[plot]'`"
        ) from error
    curves = [(each, each.curve(metric).binned(_NUM_POINTS)) for each in results]
    curves = [(each, points) for each, points in curves if points]
    if not curves:
        raise LauncherError(f"nothing to plot: no run has rows with the metric {metric!r} yet")
    # Not through pyplot, which would look for a display.
    figure = Figure(figsize=(8, 5), layout="constrained")
    supported = figure.canvas.get_supported_filetypes()
    if (ending := path.suffix.lstrip(".").lower()) not in supported:
        known = ", ".join(sorted(supported))
        raise LauncherError(f"cannot plot to {path}: found the ending {ending!r}; allowed: {known}")
    _draw(figure, curves, metric)
    with atomic_write(path) as file:
        figure.savefig(file, format=ending, dpi=150)


def _draw(figure: Figure, curves: Sequence[tuple[RunResult, Any]], metric: str) -> None:
    axes = figure.add_subplot()
    several = len({each.status.experiment for each, _ in curves}) > 1
    for each, points in curves:
        name = f"{each.status.experiment}/{each.status.name}" if several else each.status.name
        # A leading underscore would keep it out of the legend, dollars would be formulas.
        iterations, values = zip(*points, strict=True)
        axes.plot(iterations, values, label="\u200b" + name.replace("$", r"\$"), linewidth=1.2)
    if is_wide([value for _, points in curves for _, value in points]):
        axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel(metric.replace("$", r"\$"))
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(curves) <= _MAX_LEGEND:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8)

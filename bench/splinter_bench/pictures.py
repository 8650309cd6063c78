"""Pictures of benchmarks, by matplotlib: on no display, in colours that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError

COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#999999", "#000000")  # Okabe and Ito
_CELL_INCHES = (3.6, 2.9)
_DOTS_PER_INCH = 110
_BARS_INCHES, _BAR_INCHES = 5.5, 0.28  # width of an axis of bars, height of a bar
_ENDS = ("min", "median", "max")
_TICKS_MAX, _LONG = 8, 10_000


def figure_of(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure, and its axes as rows of columns. Raises :class:`SplinterError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SplinterError("pictures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(_CELL_INCHES[0] * columns, _CELL_INCHES[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def axes_beside(count: int, bars: int) -> tuple[Any, list[Any]]:
    """A figure with ``count`` axes in a row, high enough for so many horizontal bars."""
    figure, axes = figure_of(1, count)
    figure.set_size_inches(_BARS_INCHES * count, 1 + _BAR_INCHES * bars)
    return figure, list(axes[0])


def horizontal_bars(axis: Any, rows: Sequence[tuple[str, dict[str, float], str]], unit: float, label: str) -> None:
    """One bar from zero for each name, spread (median, min, max) and colour, the first on top, with its value beside it."""
    for place, (_, values, colour) in enumerate(reversed(rows)):
        median, least, most = (values[name] / unit for name in ("median", "min", "max"))
        axis.barh(place, median, color=colour, xerr=[[max(median - least, 0)], [max(most - median, 0)]], capsize=2)
        axis.annotate(f" {median:,.0f}" if median >= 100 else f" {median:,.1f}", (most, place), va="center", fontsize="small")
    axis.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)], fontsize="small")
    axis.set_xlabel(label)
    axis.margins(x=0.15)
    axis.set_xlim(left=0)


def curve(
    axis: Any, xs: Sequence[float], points: Sequence[dict[str, float]], units: Sequence[float], label: str, colour: str
) -> None:
    """Medians as a line, smallest to largest as a band; each point has its unit."""
    low, middle, high = ([point[end] / unit for point, unit in zip(points, units, strict=True)] for end in _ENDS)
    axis.plot(xs, middle, marker="o", markersize=4, label=label, color=colour)
    axis.fill_between(xs, low, high, color=colour, alpha=0.2)


def plain_log(axis: Any, which: str) -> None:
    """Logarithmic axes (``x``, ``y`` or ``both``) with plain numbers at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, side in (("x", axis.xaxis), ("y", axis.yaxis)):
        if which not in (name, "both"):
            continue
        (axis.set_xscale if name == "x" else axis.set_yscale)("log")
        side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=_TICKS_MAX))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < _LONG else f"{value / 1000:,g}k"))
        side.set_minor_formatter(NullFormatter())
    axis.grid(True, which="major", alpha=0.3)


def save(figure: Any, path: Path) -> None:
    """Write a figure; the suffix of ``path`` says as what. Raises :class:`SplinterError` when that cannot be."""
    try:
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise SplinterError(f"{path}: {error}") from error

"""Charts by matplotlib, on no display: bars, dots and curves, each drawn from data alone.

Bars begin at zero, on a linear axis. Dots with intervals, and curves, may stand on a logarithmic one. Colours are those of
:mod:`splinter_bench.report.palette`; the one legend of a picture stands below all charts, where it covers nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.report.palette import ECHOES, LOOKS

FORMATS = (".png", ".svg", ".pdf")
MEASURED, DASHED, DOTTED = "-", "--", ":"
_DOTS_PER_INCH, _FONT_POINTS = 110, 9
_ROWS_INCHES, _ROW_INCHES, _CURVES_INCHES = 4.8, 0.3, (3.5, 2.7)  # width of bars, height of one; width and height of curves
_LEGEND_INCHES = 0.35
_TICKS_MAX, _LONG, _DECADES = 8, 10_000, 10**2.4

NUMBER = "{:,g}".format  # names a step
Ends = tuple[float, float, float]  # least, median, most


def ends(spread: Mapping[str, float], unit: float = 1.0) -> Ends:
    """A ``median`` with its ``min`` and ``max``, in a unit."""
    return spread["min"] / unit, spread["median"] / unit, spread["max"] / unit


def alone(value: float) -> Ends:
    """A value without a spread."""
    return value, value, value


@dataclass(frozen=True)
class Bars:
    """A horizontal bar for each row, from zero; a row's further values, its limits, are strokes across the bar.

    ``rows`` are labels, and values by subject (of the palette), the row's own first, in the unit that ``label`` names.
    """

    label: str
    rows: Sequence[tuple[str, Mapping[str, Ends]]]
    title: str = ""
    looks: Mapping[str, str] = field(default_factory=dict)  # what a subject is drawn as, where it is none of the palette's
    width: float = 1.0  # of the usual


@dataclass(frozen=True)
class Dots(Bars):
    """The same rows as points with intervals, on a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """Medians as a line with markers, smallest to largest as a band; a line that is no measurement has no markers.

    ``subject`` is one of the palette's; ``points`` may be plain values for a line without a band.
    """

    label: str
    subject: str
    xs: Sequence[float]
    points: Sequence[Ends]
    style: str = MEASURED
    has_markers: bool = True


@dataclass(frozen=True)
class Curves:
    """Curves over one axis. With ``step``, which names a place, places stand side by side, as far apart as any others."""

    x_label: str
    y_label: str
    curves: Sequence[Curve]
    title: str = ""
    is_log: bool = True
    step: Callable[[float], str] | None = None
    y_max: float | None = None  # of an axis that begins at zero
    width: float = 1.0  # of the usual


Chart = Bars | Curves
Charts = Sequence[Sequence[Chart]]


def draw(charts: Charts, path: Path) -> None:
    """Write rows of charts as one picture, whose kind is the suffix. Raises :class:`SplinterError` when that cannot be."""
    check(path)
    import matplotlib

    # Without a date and with a salt, so that the same document gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure = figure_of(charts)
        try:
            figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise SplinterError(f"{path}: {error}") from error


def check(path: Path) -> None:
    """Whether :func:`draw` can write there, before hours are spent on the content; raises as it does."""
    if path.suffix not in FORMATS:
        raise SplinterError(f"a picture is one of {', '.join(FORMATS)}, not {path.name}")
    if not path.parent.is_dir():
        raise SplinterError(f"there is no folder {path.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SplinterError("pictures need matplotlib: pip install matplotlib") from None


def figure_of(charts: Charts) -> Any:
    """The matplotlib figure, laid out and with its legend, but not drawn."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(map(len, charts))
    sizes = [[_size(chart) for chart in row] for row in charts]
    heights = [max(height for _, height in row) for row in sizes]
    widths = [max(row[column][0] for row in sizes if column < len(row)) for column in range(columns)]
    with matplotlib.rc_context({"font.size": _FONT_POINTS}):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        places = figure.subplots(len(charts), columns, squeeze=False, width_ratios=widths, height_ratios=heights)
        for row, axes in zip(charts, places, strict=True):
            for chart, axis in zip(row, axes, strict=False):
                axis.set_title(chart.title, fontsize="medium")
                _curves(axis, chart) if isinstance(chart, Curves) else _rows(axis, chart)
            for axis in axes[len(row) :]:
                axis.remove()
        labels = {
            label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        lines = 0
        if len(labels) > 1:
            per_line = max(1, int(sum(widths) / (0.6 + 0.075 * max(map(len, labels)))))
            lines = math.ceil(len(labels) / per_line)
            figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=math.ceil(len(labels) / lines))
        figure.set_size_inches(sum(widths), sum(heights) + _LEGEND_INCHES * lines)
    return figure


def _size(chart: Chart) -> tuple[float, float]:
    """Inches."""
    if isinstance(chart, Curves):
        return chart.width * _CURVES_INCHES[0], _CURVES_INCHES[1]
    lines = sum(len(values) for _, values in chart.rows) / 2 if isinstance(chart, Dots) else 0
    return chart.width * _ROWS_INCHES, 0.8 + _ROW_INCHES * max(len(chart.rows), lines)


def _rows(axis: Any, chart: Bars) -> None:
    """Bars or dots, the first row on top; beside it stands the bar's value, or that of each dot."""
    is_dots, said = isinstance(chart, Dots), set[str]()
    for place, (_, values) in enumerate(chart.rows):
        for number, (name, (least, median, most)) in enumerate(values.items()):
            look = LOOKS[chart.looks.get(name, name)]
            label = None if name in said else name
            said.add(name)
            spread = {"xerr": [[max(median - least, 0)], [max(most - median, 0)]], "capsize": 2}
            lane = place + 0.8 * ((number + 0.5) / len(values) - 0.5) if is_dots else place
            if is_dots:
                axis.errorbar(median, lane, fmt=look.marker, color=look.colour, markersize=5, label=label, **spread)
            elif number == 0:
                axis.barh(place, median, color=look.colour, label=label, height=0.7, **spread)
            else:
                axis.plot([median] * 2, [place - 0.42, place + 0.42], color=look.colour, linewidth=2.5, label=label)
            if is_dots or number == 0:
                text = f"{median:,.0f}" if median >= 100 else f"{median:,.1f}" if median >= 1 else f"{median:.2g}"
                where = {"xycoords": ("axes fraction", "data"), "xytext": (4, 0), "textcoords": "offset points"}
                axis.annotate(text, (1, lane), va="center", color=look.colour, fontsize="small", **where)
    axis.set_yticks(range(len(chart.rows)), [label for label, _ in chart.rows])
    axis.set_ylim(len(chart.rows) - 0.5, -0.5)
    axis.set_xlabel(chart.label)
    if is_dots:
        _logarithmic(axis.xaxis)
    else:
        axis.set_xlim(left=0)
    axis.grid(True, axis="x", which="major", alpha=0.3)
    axis.set_axisbelow(True)


def _curves(axis: Any, chart: Curves) -> None:
    steps = sorted({x for curve in chart.curves for x in curve.xs}) if chart.step else []
    for curve in chart.curves:
        xs = [steps.index(x) for x in curve.xs] if steps else curve.xs
        look = LOOKS[curve.subject]
        low, middle, high = zip(*curve.points, strict=True) if curve.points else ((), (), ())
        style = {"marker": look.marker, "markersize": 4} if curve.has_markers else {}
        axis.plot(xs, middle, curve.style, color=look.colour, label=curve.label, linewidth=1.3, **style)
        if low != high:
            axis.fill_between(xs, low, high, color=look.colour, alpha=0.15, linewidth=0)
    if chart.is_log:
        _logarithmic(axis.yaxis)
    if chart.step:
        axis.set_xticks(range(len(steps)), list(map(chart.step, steps)))
    if chart.y_max is not None:
        axis.set_ylim(0, chart.y_max)
    axis.set_xlabel(chart.x_label)
    axis.set_ylabel(chart.y_label)
    axis.grid(True, which="major", alpha=0.3)


def _logarithmic(side: Any) -> None:
    """A logarithmic axis with plain numbers at powers of ten, where there are few at 2 and 5 times these as well."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    side.axes.set(**{f"{side.axis_name}scale": "log"})
    low, high = side.get_view_interval()
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _DECADES * low else (1.0,), numticks=_TICKS_MAX))
    side.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    side.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    return f"{value:,g}" if value < _LONG else f"{value / 1e3:,g}k" if value < 1e6 else f"{value / 1e6:,g}M"


def beyond_limits(rows: Sequence[tuple[str, Mapping[str, Ends]]], *, is_more_better: bool = True) -> list[str]:
    """The labels of rows whose own value is better than that of an echo, which is to be its limit."""
    found = []
    for label, values in rows:
        own, *_ = values.values()
        limits = [value for name, value in values.items() if name in ECHOES]
        if any(own[1] > limit[1] if is_more_better else own[1] < limit[1] for limit in limits):
            found.append(label)
    return found

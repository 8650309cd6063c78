"""Pictures of experiments: measurements are drawn with lines and markers, simulations dashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.experiments.experiment import Document, Experiment

FORMATS = (".png", ".svg")
COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:purple", "tab:orange")
MARKERS = "osD^v"
_DPI = 110
_SIZE = (10.5, 4.2)  # inches
_FONT_POINTS = 8


def write(experiment: Experiment, document: Document, path: Path) -> None:
    """Draw a document into a PNG or SVG file. Raises :class:`SplinterError` without matplotlib, or for another suffix."""
    check(path)
    import matplotlib

    with matplotlib.rc_context({"font.size": _FONT_POINTS, "svg.fonttype": "none", "svg.hashsalt": experiment.name}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        experiment.draw(document, figure)
        # Without a date, so that the same document gives the same file.
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def check(path: Path) -> None:
    """Whether :func:`write` will be able to write there, before hours are spent on the content; raises as it does."""
    if path.suffix not in FORMATS:
        raise SplinterError(f"a picture is one of {', '.join(FORMATS)}, not {path.name}")
    if not path.parent.is_dir():
        raise SplinterError(f"there is no folder {path.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SplinterError("a picture needs matplotlib: pip install matplotlib") from None


def line(
    axes: Any, number: int, x: list[float], y: list[float], label: str, *, simulated: bool = False, alpha: float = 1.0
) -> None:
    """One line; the same number is the same colour and marker in every picture."""
    style = {"linestyle": "--"} if simulated else {"marker": MARKERS[number % len(MARKERS)], "markersize": 4}
    axes.plot(x, y, label=label, color=COLOURS[number % len(COLOURS)], linewidth=1.2, alpha=alpha, **style)

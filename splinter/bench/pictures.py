"""Pictures of benchmarks, by matplotlib: on no display, in colours that the colour-blind can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splinter.errors import SplinterError

COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#999999", "#000000")  # Okabe and Ito
_CELL_INCHES = (3.6, 2.9)
_DOTS_PER_INCH = 110


def figure_of(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure, and its axes as rows of columns. Raises :class:`SplinterError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SplinterError("pictures need matplotlib: pip install 'splinter-store[bench]'") from error
    figure = Figure(figsize=(_CELL_INCHES[0] * columns, _CELL_INCHES[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, path: Path) -> None:
    """Write a figure; the suffix of ``path`` says as what. Raises :class:`SplinterError` when that cannot be."""
    try:
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise SplinterError(f"{path}: {error}") from error

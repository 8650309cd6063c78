"""Tables of figures, and of the goals that they decide, from their JSON documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from splinter_bench.figure import otherwise, shown, shown_interval
from splinter_bench.goals import Goal
from splinter_bench.table import Table, table_of

Found = dict[str, Any]  # :meth:`splinter_bench.figure.Figure.to_json`
_COLUMNS: dict[str, Callable[[Found], str]] = {
    "median": lambda figure: shown(figure["median"], figure["unit"]),
    "interval": lambda figure: shown_interval(figure.get("interval", ()), figure["unit"]),
    "rounds": lambda figure: f"{figure['rounds']}{_left_out(figure)}" if "rounds" in figure else "",
}


def figures_table(figures: list[Found]) -> Table:
    """Each figure with its interval, and the medians that it is made of."""
    columns: dict[str, Callable[[Found], str]] = {
        "figure": lambda figure: figure["text"],
        **_COLUMNS,
        "made of": lambda figure: ", ".join(f"{name} {value:,.6g}" for name, value in figure["parts"].items()),
    }
    return table_of(figures, columns)


def goals_table(decided: Iterable[tuple[Goal, Found | None]]) -> Table:
    """Each goal with its bound, and what was found; None: it was not measured."""

    def found(text: Callable[[Found], str], otherwise: str = "") -> Callable[[tuple[Goal, Found | None]], str]:
        return lambda pair: otherwise if pair[1] is None else text(pair[1])

    columns: dict[str, Callable[[tuple[Goal, Found | None]], str]] = {
        "goal": lambda pair: pair[0].name,
        "what": found(lambda figure: str(figure["text"])),
        "median": found(_COLUMNS["median"], "not measured"),
        "bound": lambda pair: pair[0].bound_text(pair[1]["unit"] if pair[1] else ""),
        "interval": found(_COLUMNS["interval"]),
        "rounds": found(_COLUMNS["rounds"]),
        "verdict": lambda pair: (pair[0].verdict_of(pair[1]) if pair[1] else pair[0].verdict(None)).value,
        "otherwise": found(lambda figure: otherwise(figure["parts"], figure["unit"])),
    }
    return table_of(list(decided), columns)


def _left_out(figure: Found) -> str:
    return f", {figure['left_out']} left out" if figure.get("left_out") else ""

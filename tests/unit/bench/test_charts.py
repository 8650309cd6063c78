"""Every kind of picture, drawn from documents: bars begin at zero, a colour means one thing, nothing is covered."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from splinter_bench.experiments import benefit_cases
from splinter_bench.report.charts import Bars, Charts, Curve, Curves, Dots, alone, beyond_limits, check, draw, ends, figure_of
from splinter_bench.report.palette import LOOKS, SPLINTER, subject
from splinter_bench.report.told import caption, charts

from splinter.errors import SplinterError

DOCUMENTS = Path(__file__).parents[3] / "docs" / "experiments"
ECHOES = ("AF_XDP echo", "XDP_TX echo")


def rows(subject: str, per_second: float, p50: float, **settings: Any) -> list[dict[str, Any]]:
    """Three runs: the least, the median, the most."""
    return [
        {"subject": subject, "round": number, **settings, "per_second": per_second * factor, "p50": p50 * factor,
         "p99": 9 * p50 * factor, "p999": 90 * p50 * factor}
        for number, factor in enumerate((0.7, 1, 1.6))
    ]  # fmt: skip


def case(workload: str, label: str, p50: float, **settings: Any) -> list[dict[str, Any]]:
    place = {"label": label, "workload": workload, "operation": "all", "is_series": False, **settings}
    found = rows(workload, 1e9 / p50, p50, **place)
    for name in ECHOES:
        found += rows(name, 3e8 / p50, p50 / 2, **place)
    return found


def told(experiment: str, runs: Iterable[list[dict[str, Any]]], **others: Any) -> dict[str, Any]:
    return {"experiment": experiment, "runs": [row for some in runs for row in some], **others}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    rates = [case(w, f"{w}, depth {d}", 4e3 * d, depth=d) for w in ("ycsb-a", "put", "tao", "ycsb-f-invoke") for d in (1, 64)]
    yield "bars", told("rates", rates)
    sizes = [case(w, w, 20 * size, value_bytes=size) for w in ("get", "put") for size in (16, 1024, 65_536)]
    yield "sizes", told("sizes", sizes)
    loads = [case(w, w, rate / 10, rate=rate) for w in ("get", "ycsb-a") for rate in (20_000, 600_000)]
    loads.append([row | {"is_series": True} for row in case("get", "10 s", 5e3, rate=1)])
    times = [(n / 10, 0 if n == 0 else 90_000 + 1000 * n) for n in range(12)]
    series = [
        {"label": "10 s", "subject": "get", "round": 0, "time": at, "count": 1, "p50": 5000, "p99": p99} for at, p99 in times
    ]
    yield "load", told("load", loads, series=series)
    live = [
        rows(name, rate, 1, label="get, much", workload="get") for name, rate in (("get", 5e5), *((e, 4e6) for e in ECHOES))
    ]
    yield "live", told("live", live)
    names = (
        "echo",
        "get",
        "put",
        "invoke scan",
        "redis get",
        "redis fcall chain",
        "memcached UDP get",
        "redis get, spinning client",
    )
    results = [
        rows(name, 1e5 * place, 4e3 * place, depth=depth, by="slices")
        for place, name in enumerate(names, start=1)
        for depth in (1, 50)
    ]
    yield "suite", told("suite", results)
    points = (("tree traversal", 1), ("tree traversal", 16), ("TAO's mix", 5000), ("decision forest", 20))
    ways = enumerate(benefit_cases.WAYS, start=1)
    yield "benefit", told("benefit", [
        [row | {"time_ns": row["p50"]} for row in rows(way, 1e6 / x / place, 9e3 * place * x, case=name, x=x)]
        for place, way in ways
        for name, x in points
    ])  # fmt: skip
    for path in sorted(DOCUMENTS.glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


PICTURES: dict[str, Charts] = {name: charts(document) for name, document in documents()}


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    made = {name: figure_of(charts) for name, charts in PICTURES.items()}
    for figure in made.values():
        figure.canvas.draw()
    return made


@pytest.fixture(params=PICTURES)
def figure(request: pytest.FixtureRequest, figures: dict[str, Any]) -> Any:
    return figures[request.param]


def cut_bars(figure: Any) -> list[str]:
    """Axes whose bars have no length that could be compared."""
    return [
        axis.get_xlabel()
        for axis in figure.axes
        if any(isinstance(container, BarContainer) for container in axis.containers)
        and (axis.get_xscale() != "linear" or axis.get_xlim()[0] != 0)
    ]


def unnamed_percentiles(figure: Any) -> list[str]:
    """Axes of time that do not say which percentile, or that it is a mean."""
    texts = [text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel()) if "µs" in text]
    return [text for text in texts if not re.search(r"\bp\d\d|\bmean\b", text)]


def colours(figure: Any) -> dict[str, set[str]]:
    """What each label of the legends is drawn in."""
    found: dict[str, set[str]] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            part = handle[0] if isinstance(handle, tuple) else handle
            colour = part.get_facecolor() if hasattr(part, "get_facecolor") else part.get_color()
            found.setdefault(label, set()).add(to_hex(colour))
    return found


def covered(figure: Any) -> list[str]:
    """Axes, with all their texts, that a legend lies over, that lie over each other, or that leave the picture."""
    boxes = {axis: axis.get_tightbbox() for axis in figure.axes}
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    wrong = [axis for axis, box in boxes.items() for legend in legends if legend.get_window_extent().overlaps(box)]
    wrong += [one for (one, box), (_, other) in combinations(boxes.items(), 2) if box.overlaps(other)]
    wrong += [
        axis for axis, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    return [f"{axis.get_title()}, {axis.get_xlabel()}" for axis in wrong]


def crowded(figure: Any) -> list[str]:
    """Axes on which two numbers touch each other."""
    found = []
    for axis in figure.axes:
        for side in (axis.xaxis, axis.yaxis):
            low, high = sorted(side.get_view_interval())
            ticks = [tick.label1 for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
            boxes = [text.get_window_extent() for text in ticks if text.get_text()]
            found += [axis.get_title() for one, other in combinations(boxes, 2) if one.overlaps(other)]
    return found


def beyond_the_axis(figure: Any) -> list[str]:
    """Axes that something is drawn beyond: whiskers, limits and lines as well as bars."""
    found = []
    for axis in figure.axes:
        points = [point for line in axis.lines for point in zip(*line.get_data(), strict=True) if not math.isnan(sum(point))]
        for drawn, ends_of in zip(zip(*points, strict=True), (axis.get_xlim(), axis.get_ylim()), strict=False):
            if not min(ends_of) <= min(drawn) <= max(drawn) <= max(ends_of):
                found.append(axis.get_title())
    return found


def test_nothing_is_drawn_beyond_its_axis(figure: Any) -> None:
    assert beyond_the_axis(figure) == []


def test_bars_begin_at_zero(figure: Any) -> None:
    assert cut_bars(figure) == []


def test_labels_of_latencies_name_the_percentile(figure: Any) -> None:
    assert unnamed_percentiles(figure) == []


def test_nothing_is_covered(figure: Any) -> None:
    assert covered(figure) == []


def test_numbers_of_an_axis_stand_apart(figure: Any) -> None:
    assert crowded(figure) == []


def test_what_is_drawn_is_named_below(figure: Any) -> None:
    names = set(colours(figure))
    legend = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert legend == names or len(names) == 1


def test_a_label_has_one_colour_in_all_pictures(figures: dict[str, Any]) -> None:
    found: dict[str, set[str]] = {}
    for figure in figures.values():
        for label, some in colours(figure).items():
            found.setdefault(label, set()).update(some)
    assert {"AF_XDP echo", "Splinter invoke", "Redis Lua", "memcached", "no yields"} <= found.keys()
    assert {label: some for label, some in found.items() if len(some) > 1} == {}


def test_a_colour_and_a_marker_mean_one_thing() -> None:
    assert len({look.colour for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize(
    ("name", "who"),
    [("get", "Splinter"), ("ycsb-f-invoke, depth 1", "Splinter invoke"), ("redis get, spinning client", "Redis"),
     ("redis fcall chain", "Redis Lua"), ("memcached set", "memcached"), ("echo", "AF_XDP echo"), ("XDP_TX", "XDP_TX echo")],
)  # fmt: skip
def test_a_name_says_who_is_measured(name: str, who: str) -> None:
    assert subject(name) == who


def test_the_judges_see_what_is_wrong() -> None:
    figure = figure_of([[Bars("latency, µs", [("get", {SPLINTER: alone(2.0)})])]])
    axis = figure.axes[0]
    assert (cut_bars(figure), unnamed_percentiles(figure)) == ([], ["latency, µs"])
    axis.set_xlim(1, 1.5)
    assert beyond_the_axis(figure) == [""]
    axis.set_xlim(1, 3)
    assert cut_bars(figure) == ["latency, µs"]
    axis.set_xlim(0, 3)
    figure.canvas.draw()
    assert covered(figure) == []
    axis.legend()
    figure.canvas.draw()
    assert covered(figure) != []
    axis.set_xscale("log")
    assert cut_bars(figure) == ["latency, µs"]


def test_a_curve_of_one_value_each_has_no_band() -> None:
    one = Curves("x", "y", [Curve("a", SPLINTER, [1, 2], [alone(1.0), alone(2.0)])])
    spread_too = Curves("x", "y", [Curve("a", SPLINTER, [1, 2], [(1.0, 2.0, 3.0)] * 2)])
    assert [len(figure_of([[chart]]).axes[0].collections) for chart in (one, spread_too)] == [0, 1]


def test_limits_below_what_they_limit_are_told() -> None:
    rows = [
        ("get", {SPLINTER: alone(5.0), "AF_XDP echo": alone(4.0)}),
        ("put", {SPLINTER: alone(5.0), "XDP_TX echo": alone(6.0)}),
    ]
    assert beyond_limits(rows) == ["get"]
    assert beyond_limits(rows, is_more_better=False) == ["put"]
    faster = told("rates", [case("get", "get", 4e3)])  # than the echo beside it
    slower = told(
        "rates",
        [[row | {"per_second": 1.0, "p50": 1e6} if row["subject"] == "get" else row for row in case("get", "get", 4e3)]],
    )
    assert "below Splinter in get." in caption(faster)
    assert "below" not in caption(slower)
    ((_, latency),) = charts(faster)
    assert isinstance(latency, Dots)


def test_a_picture_is_the_same_each_time_and_of_a_known_kind(tmp_path: Path) -> None:
    for suffix in (".svg", ".png"):
        for number in range(2):
            (tmp_path / f"{number}").mkdir(exist_ok=True)
            draw(PICTURES["flood"], tmp_path / f"{number}" / f"flood{suffix}")
        assert len({(tmp_path / f"{number}" / f"flood{suffix}").read_bytes() for number in range(2)}) == 1
    with pytest.raises(SplinterError, match="docx"):
        check(tmp_path / "flood.docx")
    with pytest.raises(SplinterError, match="no folder"):
        draw(PICTURES["flood"], tmp_path / "nowhere" / "flood.svg")


def test_ends_are_in_a_unit() -> None:
    assert ends({"median": 2000.0, "min": 1000.0, "max": 4000.0}, 1e3) == (1.0, 2.0, 4.0)

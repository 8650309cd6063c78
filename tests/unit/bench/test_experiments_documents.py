"""Tables, figures and the documentation's section, from documents; no measurement."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from splinter_bench.control import Taken
from splinter_bench.experiments import flood, locality, misbehaviour
from splinter_bench.experiments.bench import add_served
from splinter_bench.experiments.misbehaviour import WATCHDOG
from splinter_bench.experiments.sweep import Kind, Traffic, requests_for
from splinter_bench.experiments.traffic import zipf_shares
from splinter_bench.histogram import Histogram
from splinter_bench.observations import Observations
from splinter_bench.report.blocks import between
from splinter_bench.report.told import BEGIN, END, figures, notes, section
from splinter_bench.result import Result
from splinter_bench.rounds import Verdict
from splinter_bench.table import Table
from splinter_bench.workloads.workload import Account, Workload, get_operation

from splinter.errors import SplinterError

MACHINE = {"processor": "a processor", "cpus": 2, "kernel": "6.18"}


def _yields(without_ns: int, compiled_ns: int, rounds: int = 6) -> dict[str, Any]:
    p90 = {"no yields": without_ns, "the author's yields": 3000, "the compiler's yields": compiled_ns}
    runs = [
        {
            "subject": mode,
            "round": number,
            "load": 0.7,
            "kind": kind,
            "offered": 1000,
            "count": 9,
            "errors": {},
            "p50": 1000,
            "p90": ns,
            "p99": ns + 100_000,
        }
        for number in range(rounds)
        for mode, ns in p90.items()
        for kind in ("small", "long")
    ]
    runs.append({"subject": "AF_XDP echo", "round": 0, "load": 0.7, "kind": "small", "offered": 1000, "p50": 500, "p99": 700})
    service = {"saturation": 1000.0, "saturation_yields": 900.0, "small_ns": 1000.0, "slices": 4.0}
    service |= {"long_ns": 20000.0, "long_author_ns": 21000.0, "long_compiler_ns": 22000.0}
    return {
        "experiment": "yields", "command": "splinter bench yields", "machine": MACHINE, "runs": runs, "settings": service,
        "simulated": [],
    }  # fmt: skip


def _flood(p90_ns: dict[str, list[int]]) -> dict[str, Any]:
    rates = {"offered": 1, "others_per_second": 1, "flooding_per_second": 0, "errors": {}, "count": 1}
    rest = {"p50": 1, "p99": 7, "p999": 8, **rates}
    runs = [
        {"subject": mode, "round": number, "p90": abs(value), "is_still": value > 0, **rest}
        for mode, values in p90_ns.items()
        for number, value in enumerate(values)
    ]
    return {"experiment": "flood", "runs": runs, "settings": {"times": 10}, "simulated": []}


def test_yields_are_compared_where_the_bound_is_set() -> None:
    (figure,) = figures(_yields(12_000, 2_000))
    assert (figure.name, figure.median) == ("yields", 6.0)
    assert (figure.parts["p99_ratio"], figure.parts["echo_p99_ns"]) == (1.098, 700)  # what the machine does to p99


def test_a_slice_is_compared_with_its_neighbour_of_the_same_round() -> None:
    flooded = {"flood, limited": [12, 99, 80], "flood, no limit": [1, 1, 1]}
    document = _flood({"no flood": [5, 9, 40], "as much of nobody": [10, 90, 10], **flooded})
    (figure,) = figures(document)
    assert figure.values == (1.2, 1.1, 8.0)
    assert (figure.parts["over_no_flood"], figure.parts["nobody_over_no_flood"], figure.parts["p99_ratio"]) == (2.4, 2.0, 1)
    assert figure.median == 1.2
    assert figure.left_out == 0


def test_rounds_in_which_the_machine_did_something_else_are_left_out() -> None:
    """Whichever of the two slices it was; here, such slices are negative."""
    document = _flood({"no flood": [1] * 4, "as much of nobody": [10, -90, 10, 20], "flood, limited": [12, 11, -80, 20]})
    (figure,) = figures(document)
    assert figure.values == (1.2, 1.0)
    assert figure.left_out == 2
    assert (figure.parts["nobody_p90_ns"], figure.parts["flood_p90_ns"]) == (15, 16)
    document = _flood({"as much of nobody": [-10], "flood, limited": [12]})
    (figure,) = figures(document)
    assert (figure.values, figure.left_out) == ((1.2,), 1)  # something is shown, and nothing can be told
    assert figure.verdict(1.5, is_most=True) is Verdict.CANNOT_TELL
    assert set(figure.parts) == {"nobody_p90_ns", "flood_p90_ns", "p99_ratio"}  # there was no slice without a flood


def _misbehaviour(shares: list[int]) -> dict[str, Any]:
    """Of slices with endless invokes, in % of the one before; negative ones had no peace."""
    runs = [
        {
            "subject": mode, "fraction": fraction, "round": number, "loop": "closed", "per_second": abs(value) * 10,
            "without_per_second": 1000, "is_still": value > 0, "replacement_ms": [value * 0.1, 5.0] if mode == WATCHDOG else [],
        }
        for mode in misbehaviour.MODES
        for fraction in (0.0, misbehaviour.BOUND_AT[mode])
        for number, value in enumerate(shares)
    ]  # fmt: skip
    return {"experiment": "misbehaviour", "runs": runs, "settings": {"task_milliseconds_max": 1}, "simulated": []}


def test_a_machine_that_had_peace_only_without_misbehaviour_is_told_of() -> None:
    document = _misbehaviour([90, 80])
    for run in document["runs"]:
        run["is_still"] = run["fraction"] == 0
    found = {figure.name: figure for figure in figures(document)}
    assert all(math.isinf(end) for end in found["misbehaviour-preemption"].interval)  # there are values, and nothing is known


def test_misbehaviour_is_compared_slice_by_slice() -> None:
    found = {figure.name: figure for figure in figures(_misbehaviour([90, -10, 80, 99]))}
    shares = (90, 80, 99)
    assert found["misbehaviour-preemption"].values == pytest.approx([share * (1 + 1000 * 1e-4 * 1e-3) for share in shares])
    assert found["misbehaviour-preemption"].parts["share"] == 90
    assert found["replacement"].values == (9, 8, pytest.approx(9.9))
    assert {figure.left_out for figure in found.values()} == {1}
    assert found["replacement"].parts == {"median_ms": 6.5, "replaced": 6, "longest_ms": pytest.approx(9.9)}


def test_a_section_names_its_command_and_says_what_falls_short() -> None:
    good, bad = section(_yields(12_000, 2_000)), section(_yields(6_000, 2_000))
    few = section(_yields(12_000, 2_000, rounds=5))
    for text in (good, bad, few):
        assert "`splinter bench yields` on a processor, 2 CPUs, kernel 6.18" in text
        assert "| 70% | 1,000 | small |" in text
        assert "wanted: ≥ 5 ×" in text
    assert "**6.00 ×** (6.00 × … 6.00 ×)" in good
    assert "(too few rounds in peace)" in few and "cannot be told" in few
    assert "falls short" not in good + few and "cannot be told" not in good + bad
    assert "falls short" in bad


@pytest.mark.parametrize("service_ns", [500, 2000, 8000])
def test_what_misbehaviour_costs_is_told_alike_on_machines_of_any_speed(service_ns: int) -> None:
    """Each endless invoke takes its millisecond, or its worker for 20 ms: on a faster machine, more of them come."""
    without = 1e9 / service_ns
    document = _misbehaviour([50] * 6)
    for row in document["runs"]:
        lost = row["fraction"] * (0.020 if row["subject"] == WATCHDOG else 0.001)
        row |= {"without_per_second": without, "per_second": 1 / (1 / without + lost)}
    found = {figure.name: figure.median for figure in figures(document)}
    assert found["misbehaviour-preemption"] == pytest.approx(100)
    assert found["misbehaviour-watchdog"] == pytest.approx(100 / (1 + 500_000 * 1e-5 * 0.020))


@pytest.mark.parametrize("fraction", [1e-5, 1e-4, 1e-3])
def test_one_of_each_so_many_requests_never_ends(fraction: float) -> None:
    places, every = misbehaviour.endless_places(fraction), round(1 / fraction)
    assert list(places // every) == list(range(round(1_000_000 * fraction)))
    assert len(set(places % every)) > 1  # and not always the same one
    assert len(misbehaviour.endless_places(0)) == 0


def test_slices_go_on_in_the_schedule() -> None:
    operations = (get_operation(Account(1, 2)),) * 2
    workload = Workload("four", operations, np.array([0, 0, 0, 1], np.uint16), np.zeros(4, np.int64))
    schedule = misbehaviour.Schedule(workload, at=2)
    assert list(schedule.rest().choice) == [0, 1, 0, 0]
    assert list(workload.choice) == [0, 0, 0, 1]


def test_stealing_is_judged_by_waits() -> None:
    rest = {"skew": 0.99, "load": 0.6, "is_still": True, "client_share": 0.1}
    runs = [
        {"subject": mode, "round": number, "p90": 100 + wait, "p99": p99, **rest}
        for mode, wait, p99 in (("locality", 60, 9000), ("stealing", 20, 3000))
        for number in range(6)
    ]
    document = {"runs": runs, "settings": {"request_ns": 100.0}, "simulated": []}
    (figure,) = figures(document)
    assert (figure.name, figure.values, figure.parts["p99_ratio"]) == ("stealing", (3.0,) * 6, 3.0)


def test_what_was_refused_is_told() -> None:
    document = _flood({"no flood": [1], "as much of nobody": [1], "flood, limited": [1], "flood, no limit": [1]})
    assert notes(document) == []
    document["runs"][2] |= {"errors": {"BUSY": 3}, "count": 97}
    assert notes(document) == ["flood, limited: 3.000% of the requests were answered BUSY"]


@pytest.mark.parametrize("ask", [flood.run, locality.open_loop], ids=["flood", "locality"])
@pytest.mark.parametrize(("errors", "corrupt"), [({"BUSY": 50}, 0), ({"BAD_REQUEST": 1}, 0), ({}, 1)])
def test_a_slice_may_be_refused_some_and_answers_nothing_wrong(ask: Any, errors: dict[str, int], corrupt: int) -> None:
    """The load generator alone is not there: what it would have found is given."""
    histograms = {name: Histogram() for name in (flood.OTHERS, flood.FLOODING)}
    result = Result("asked", 0, 0.1, 100, 50, 0, corrupt, 0, 0, errors, operations=histograms)
    core = min(os.sched_getaffinity(0))
    session = SimpleNamespace(client_core=core, load=SimpleNamespace(run=lambda *_, **__: result))
    settings = SimpleNamespace(seconds=0.1)
    arguments = (session, None, 1000.0, settings) + ((core,) if ask is locality.open_loop else ())
    if "BUSY" in errors:
        assert ask(*arguments)["errors"] == errors
    else:
        with pytest.raises(SplinterError):
            ask(*arguments)


def test_a_slice_that_was_refused_much_does_not_count() -> None:
    def is_still(errors: dict[str, int], count: int, had_peace: bool = True) -> bool:
        observations = Observations()
        add_served(observations, "a", Taken({"errors": errors, "count": count}, had_peace), 3)
        (found,) = observations.rows
        assert (found["subject"], found["round"], found["errors"]) == ("a", 3, errors)
        return bool(found["is_still"])

    assert is_still({"BUSY": 1, "KILLED": 1}, 1998)
    assert not is_still({"BUSY": 2, "KILLED": 1}, 1997)
    assert is_still({}, 0)
    assert not is_still({}, 1, had_peace=False)


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = between(page, BEGIN, END, "new", Path("page.md"))
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert between(once, BEGIN, END, "new", Path("page.md")) == once
    with pytest.raises(SplinterError, match=r"page\.md"):
        between("no markers", BEGIN, END, "new", Path("page.md"))


def test_a_table_as_markdown_and_for_a_terminal() -> None:
    table = Table(["a", "b"], [["one", "≥ 2 ×"]], "about")
    assert table.markdown() == "| a | b |\n| --- | ---: |\n| one | ≥ 2 × |"
    made = table.rich()
    assert (made.title, [column.header for column in made.columns]) == ("about", ["a", "b"])
    assert [list(column.cells) for column in made.columns] == [["one"], ["≥ 2 ×"]]
    assert [column.justify for column in made.columns] == ["left", "right"]


def test_the_core_without_the_client_has_more_to_do() -> None:
    homes = np.arange(1024) % 2
    for skew in locality.SKEWS:
        ranks = locality.ranked(homes, skew)
        assert sorted(ranks) == list(range(1024))
        share = zipf_shares(1024, skew)[homes[ranks] == 1].sum()
        assert 0.5 <= share == pytest.approx(locality.hot_share(homes, ranks, skew), abs=1e-3)


def test_simulated_requests_have_the_load_and_the_homes_that_were_asked_for() -> None:
    traffic = Traffic((Kind("small", 0.8, 100.0), Kind("long", 0.2, 1000.0)), tenants=2, homes=np.array([1, 0]))
    requests, kind = requests_for(traffic, 2, 0.5, 100_000)
    assert requests.work_ns.sum() / (2 * requests.arrival_ns[-1]) == pytest.approx(0.5, rel=0.03)
    assert np.mean(kind == 1) == pytest.approx(0.2, rel=0.05)
    assert set(requests.core) == {0, 1}


@pytest.mark.parametrize("work_ns", [1.0, 500.0, 1e9])
def test_the_simulation_takes_whatever_speed_was_measured(work_ns: float) -> None:
    """Of the fastest machine, and of one that stood still: the rates are the simulation's, nobody has to send at them."""
    requests, _ = requests_for(Traffic((Kind("good", 1.0, work_ns),)), 64, 2.0, 10_000)
    assert requests.work_ns.sum() / (64 * requests.arrival_ns[-1]) == pytest.approx(2.0, rel=0.05)

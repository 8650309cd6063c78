"""Figures and goals: medians, bounds, names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from splinter_bench import goals
from splinter_bench.cli import bench_app
from splinter_bench.control import Control, Taken
from splinter_bench.experiments import installs
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.suite import OF_MEMCACHED, OF_REDIS, Settings
from splinter_bench.figure import Figure, otherwise, shown
from splinter_bench.goals import GOALS, Found, Goal, Outcome, figures_of
from splinter_bench.measurement import ECHO, Measurement, Report
from splinter_bench.neighbour import noisy_neighbour
from splinter_bench.observations import Observations
from splinter_bench.result import Result
from splinter_bench.rounds import Verdict
from splinter_bench.subjects.session import SLICE_WARMUP_SECONDS

from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS
from tests.support import against
from tests.support.commands import CliRunner
from tests.support.waiting import wait_for

RUNNER = CliRunner()


def test_a_figure_is_its_rounds_median() -> None:
    figure = Figure("x", "something", "ns", (3.0, 1.0, 2.0), {"half": 1.0}, left_out=4)
    assert figure.median == 2
    assert figure.to_json() == {
        "name": "x", "text": "something", "unit": "ns", "median": 2, "min": 1, "max": 3, "interval": [None, None], "rounds": 3,
        "left_out": 4, "parts": {"half": 1.0},
    }  # fmt: skip
    assert Figure("x", "something", "ns", (6.0, 1.0, 5.0, 2.0, 4.0, 3.0)).to_json()["interval"] == [1, 6]
    assert Figure("x", "something", "bytes", (3.0,), is_counted=True).to_json()["interval"] == [3, 3]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12.34, "ns", "12.3 ns"),
        (12_340, "ns", "12.3 µs"),
        (1.5e6, "ns", "1.50 ms"),
        (1.041, "×", "1.04 ×"),
        (8192, "bytes", "8,192 bytes"),
    ],
)
def test_values_are_shown_in_the_unit_that_fits(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_what_other_clients_make_of_a_figure_is_told_in_words() -> None:
    found = otherwise({"get_per_second": 1e6, "ratio_closed_loop": 4.29, "ratio_packaged": 8.61}, "×")
    assert found == "the distribution's load generator: 8.61 ×; ours by the closed loop alone: 4.29 ×"
    assert otherwise({"get_per_second": 1e6}, "×") == ""


@pytest.mark.parametrize(
    ("values", "at_most", "at_least"),
    [
        ((7.0,) * 3 + (9.0,) * 3, Verdict.HOLDS, Verdict.FAILS),
        ((9.0,) * 3 + (11.0,) * 3, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        ((11.0,) * 3 + (12.0,) * 3, Verdict.FAILS, Verdict.HOLDS),
        ((10.0,) * 6, Verdict.HOLDS, Verdict.HOLDS),
        ((1.0,) * 5, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),  # too few rounds
    ],
)
def test_a_goal_is_judged_by_the_interval(values: tuple[float, ...], at_most: Verdict, at_least: Verdict) -> None:
    figure = Figure("x", "something", "ns", values)
    for is_most, verdict in ((True, at_most), (False, at_least)):
        goal = Goal("area", "x", 10, is_most)
        assert Outcome(goal, figure).verdict is verdict
        assert goal.verdict_of(json.loads(json.dumps(figure.to_json()))) is verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(7.2, Verdict.FAILS), (7.4, Verdict.CANNOT_TELL), (8.8, Verdict.CANNOT_TELL), (9.0, Verdict.HOLDS)],
)
def test_where_runs_are_apart_a_verdict_takes_more_than_the_interval(value: float, verdict: Verdict) -> None:
    goal, figure = Goal("area", "x", 8, False, apart=0.1), Figure("x", "something", "×", (value,) * 6)
    assert goal.verdict(figure) is goal.verdict_of(json.loads(json.dumps(figure.to_json()))) is verdict
    assert goal.bound_text("×") == "≥ 8 ×, ± 10%"


def test_of_what_was_not_measured_nothing_can_be_told() -> None:
    assert Outcome(GOALS[0], None).verdict is Verdict.CANNOT_TELL
    assert GOALS[0].verdict_of({"median": 1.0}) is Verdict.CANNOT_TELL


def test_every_goal_has_a_name_of_its_own_and_something_that_measures_it() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS)
    measured = [figure for measuring in goals.measurings() for figure in measuring.figures]
    assert len(set(measured)) == len(measured)
    assert {goal.figure for goal in GOALS} == set(measured)


def test_goals_are_chosen_by_name_figure_or_area() -> None:
    assert goals.chosen([]) == list(GOALS)
    assert [goal.name for goal in goals.chosen(["extensions.resume"])] == ["extensions.resume"]
    assert [goal.name for goal in goals.chosen(["get-latency"])] == ["serving.get-latency", "rivals.get-latency"]
    assert {goal.area for goal in goals.chosen(["serving"])} == {"serving"}
    with pytest.raises(SplinterError, match="--list"):
        goals.chosen(["no-such-goal"])


def _measured(name: str, depth: int, latency_ns: int, rate: int) -> tuple[Measurement, Result]:
    result = Result(name, depth, 1.0, rate, rate, 0, 0, 0, 0)
    result.histogram.record(latency_ns)
    return Measurement(name, depth), result


def _report(failures: int = 0) -> Report:
    measurements = [
        _measured(ECHO, 1, 1000, 1000), _measured("get", 1, 1200, 900), _measured("put", 1, 1500, 700),
        _measured(ECHO, 64, 9000, 5000), _measured("get", 64, 9900, 4500), _measured("put", 64, 9900, 3500),
        _measured("invoke get", 1, 1300, 800), _measured("invoke scan", 1, 1500, 800),
        _measured("redis get", 1, 12_000, 80), _measured("memcached UDP get", 1, 6000, 80),
        _measured("redis fcall", 1, 15_600, 80), _measured("redis fcall chain", 1, 16_500, 80),
        _measured(ECHO, 50, 9000, 5000), _measured("get", 50, 9900, 4400), _measured("invoke get", 50, 9900, 4000),
        _measured("redis get", 50, 99_000, 440), _measured("redis fcall", 50, 99_000, 400),
        _measured("memcached get", 50, 99_000, 1000), _measured("memcached UDP get", 50, 99_000, 1100),
        _measured("get, live frames 600 K/s", 0, 0, 6600), _measured("get, live frames 900 K/s", 0, 0, 5000),
        _measured("memcached UDP get, live frames 160 K/s", 0, 0, 1320),
    ]  # fmt: skip
    measurements[1][1].lost = failures
    others = [("redis get", 50, 550.0), ("redis fcall", 50, 300.0), ("redis get", 1, 9.0)]
    extras = [
        {"name": f"{name}, redis-benchmark", "connections": count, "per_second": rate, "latency_ns": {"p50": 1}}
        for name, count, rate in others
    ]
    rivals = {name: {"version": f"{name} 1.2", "command": f"{name}-server --port 1"} for name in ("redis", "memcached")}
    report = Report({"rivals": rivals})
    for what, result in measurements:
        report.add(what, 0, 0, Taken(result, True))
    for extra in extras:
        report.add_program(0, extra, [0])
    return report


def test_the_report_s_ratios_become_figures() -> None:
    found = {figure.name: figure.median for figure in figures_of(_report().observations())}
    expected = {
        "get-latency": 1.2, "get-throughput": 90, "put-latency": 1.5, "put-throughput": 70, "redis-latency": 10,
        "redis-throughput": 12, "memcached-latency": 5, "memcached-throughput": 5, "fcall-latency": 12,
        "fcall-throughput": 10, "chain-redis": 11,
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-2)
    parts = {figure.name: figure.parts for figure in figures_of(_report().observations())}
    against = {figure.name: figure.against for figure in figures_of(_report().observations())}
    assert against["fcall-latency"] == "redis 1.2: redis-server --port 1"
    assert against["memcached-latency"] == "memcached 1.2: memcached-server --port 1"
    assert against["get-latency"] == ""
    assert parts["redis-throughput"]["ratio_closed_loop"] == pytest.approx(8)
    assert parts["redis-throughput"]["ratio_packaged"] == pytest.approx(12)
    assert parts["redis-latency"]["most_possible"] == pytest.approx(12, rel=1e-2)


@pytest.mark.parametrize("only", [OF_REDIS, OF_MEMCACHED])
def test_only_what_the_figures_need_is_measured(only: tuple[tuple[str, int], ...]) -> None:
    settings = Settings(only=only)
    needed = {"redis get", "redis fcall"} if only is OF_REDIS else {"memcached get", "memcached UDP get"}
    assert {name for name in needed if settings.wants(name, 50)} == needed
    assert settings.wants("get, live frames 600 K/s", 0)
    assert not settings.wants("put", 1)
    assert not settings.wants("redis get, pipelined by 16", 800)


def test_requests_that_failed_are_no_figure() -> None:
    with pytest.raises(SplinterError, match="1 requests"):
        _report(failures=1).observations()


def test_the_list_measures_nothing() -> None:
    ran = RUNNER.invoke(bench_app, ["goals", "--list", "--json", "--only", "serving.restart"])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == [{"name": "serving.restart", "bound": 100, "is": "at most"}]


HOLDS, FAILS, OPEN = (1.0,) * 6, (1.1,) * 6, (0.9,) * 3 + (1.1,) * 3


def finds(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[float, ...]) -> None:
    """Each time that the goals are measured, the figure has the next of these rounds."""
    figures = iter([Figure("resume", "a turn", "ns", values, left_out=2) for values in rounds])
    monkeypatch.setattr(goals, "measure", lambda names, bench: Found({"resume": next(figures)}))


@pytest.mark.parametrize(("values", "status", "verdict"), [(HOLDS, 0, "holds"), (FAILS, 1, "fails"), (OPEN, 3, "cannot tell")])
def test_the_exit_status_tells_whether_all_hold(
    monkeypatch: pytest.MonkeyPatch, values: tuple[float, ...], status: int, verdict: str
) -> None:
    finds(monkeypatch, values, values)
    ran = RUNNER.invoke(bench_app, ["goals", "--only", "resume", "--json"])
    assert ran.exit_code == status
    (goal,) = json.loads(ran.stdout)["goals"]
    assert (goal["name"], goal["bound"], goal["verdict"]) == ("extensions.resume", 1, verdict)
    assert goal["figure"]["interval"] == [min(values), max(values)]
    table = RUNNER.invoke(bench_app, ["goals", "--only", "resume"])
    assert table.exit_code == status
    for part in ("extensions.resume", verdict, "6, 2 left out", shown(min(values), "ns")):
        assert part in " ".join(table.stdout.split())


@pytest.mark.parametrize(
    ("runs", "status", "same"),
    [((HOLDS,) * 3, 0, "yes"), ((OPEN,) * 2, 3, "yes"), ((FAILS,) * 2, 1, "yes"), ((HOLDS, OPEN, HOLDS), 1, "no")],
)
def test_runs_are_compared(
    monkeypatch: pytest.MonkeyPatch, runs: tuple[tuple[float, ...], ...], status: int, same: str
) -> None:
    finds(monkeypatch, *runs)
    ran = RUNNER.invoke(bench_app, ["goals", "--only", "resume", "--repeat", str(len(runs)), "--noisy"])
    assert ran.exit_code == status
    assert f"run {len(runs)}" in ran.stdout
    assert same in ran.stdout.split()
    finds(monkeypatch, *runs)
    ran = RUNNER.invoke(bench_app, ["goals", "--only", "resume", "--repeat", str(len(runs)), "--json"])
    assert ran.exit_code == status
    assert len(json.loads(ran.stdout)["runs"]) == len(runs)


def test_the_noisy_neighbour_is_seen_and_goes_with_us() -> None:
    control = Control()
    with noisy_neighbour(0.05, 0.1):

        def seen() -> set[int]:
            return {pid for pid, used in control.read().processes.items() if used > 100_000_000 and is_neighbour(pid)}

        pids = wait_for(seen, what="the neighbour's noise")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the neighbour's end")


def is_neighbour(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"os.setsid()" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.mark.parametrize(("share", "is_still", "counts"), [(1, True, True), (0.97, True, False), (1, False, False)])
def test_gets_beside_installs_count_where_their_generator_had_its_cpu(share: float, is_still: bool, counts: bool) -> None:
    seconds = 0.01
    passed_ns = (seconds + SLICE_WARMUP_SECONDS) * SECOND_NS
    result = Result("get", 1, seconds, 1, 1, 0, 0, 1, 0, client_cpu_ns=int(share * passed_ns))
    assert installs._is_undisturbed(Taken(result, is_still)) is counts


def test_a_figure_is_compared_with_one_of_its_unit_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def said(unit: str) -> str:
        figure = Figure("resume", "a turn", unit, (2.0,), {} if unit == "ns" else {"ns": 3.0, "generator_ns": 1.5})
        return json.dumps({"goals": [Outcome(GOALS[0], figure).to_json(), Outcome(GOALS[1], None).to_json()]})

    for unit in ("ns", "×"):
        program = tmp_path / unit
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{said(unit)}\nEND\n")
        program.chmod(0o755)
        monkeypatch.setattr(against.sys, "executable", str(program))
        found = against.figures(tmp_path, ["resume"])
        assert found == {f"{GOALS[0].name}, {unit}": 2.0, **({} if unit == "ns" else {f"{GOALS[0].name}, ns": 3.0})}


def test_a_measurement_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: Bench) -> Observations:
        raise SplinterError("no luck")

    turns = Observations([{"subject": subject, "round": 0, "ns": ns} for subject, ns in (("resume", 3.0), ("generator", 2.0))])
    by_the_way = Observations(
        [{"subject": name, "round": 0, "ms": 1.0} for name in ("short", "short CPython")], {"short_lines": 1}
    )
    (figure,) = figures_of(turns)
    assert figure.name == "resume"
    assert [figure.name for figure in figures_of(by_the_way)] == ["compile"]
    measurings = [
        goals.Measuring("compiler", "compiler", fail),
        goals.Measuring("worker", "a worker's own time", lambda bench: turns.merged(by_the_way)),
        goals.Measuring("restart", "restarts", fail),
    ]
    monkeypatch.setattr(goals, "measurings", lambda: measurings)
    found = goals.measure(["compile", "resume"], Bench())
    assert found == Found({"resume": figure}, ["compiler: no luck"])
    ran = RUNNER.invoke(bench_app, ["goals", "--only", "extensions"])
    assert ran.exit_code == 1
    assert "not measured" in ran.stdout
    assert "no luck" in ran.output

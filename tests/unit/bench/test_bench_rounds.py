"""Rounds in turns, the control, the interval of the median and what it says of a bound: with made-up numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
from splinter_bench import control as module
from splinter_bench.control import RESTLESS, TRIES, Control, Others, Taken, is_still
from splinter_bench.figure import Figure
from splinter_bench.goals import figures_of
from splinter_bench.observations import NotMeasuredError, Observations
from splinter_bench.rounds import CONFIDENCE, ROUNDS_MIN, Verdict, in_turns, interval, judge

MS = 1_000_000


class Script(Control):
    """A control that finds the machine disturbed at the tries that it is told."""

    def __init__(self, is_disturbed: Callable[[int], bool]) -> None:
        super().__init__()
        self._tries, self._is_disturbed = count(), is_disturbed

    def read(self) -> Others:
        """Two a try; in the second one another program has used what it has."""
        number, is_second = divmod(next(self._tries), 2)
        used = 50 * MS * (is_second and self._is_disturbed(number))
        return Others({9: used}, 0, 100 * MS * is_second)


def resume_of(observations: Observations) -> Figure:
    """The figure of ``goals.toml`` that two subjects make, ``resume`` and ``generator``."""
    (figure,) = figures_of(observations)
    assert figure.name == "resume"
    return figure


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([], (-np.inf, np.inf)),
        ([1, 2, 3, 4, 5], (-np.inf, np.inf)),  # they miss it with 1/16
        ([6, 1, 5, 2, 4, 3], (1, 6)),  # 1/32
        (list(range(1, 9)), (1, 8)),
        (list(range(1, 10)), (2, 8)),  # 20/512
        (list(range(1, 26)), (8, 18)),
        ([7.0] * 30, (7, 7)),
    ],
)
def test_the_interval_is_made_of_order_statistics(values: list[float], ends: tuple[float, float]) -> None:
    assert interval(values) == ends


@pytest.mark.parametrize("rounds", [ROUNDS_MIN, 15, 40, 101])
def test_the_interval_holds_the_median_as_often_as_it_says(rounds: int) -> None:
    """Of a distribution as those of latencies are: skewed, with a long tail."""
    random, within = np.random.default_rng(5), 0
    for _ in range(2000):
        low, high = interval(random.lognormal(0.0, 1.0, rounds).tolist())
        within += low <= 1.0 <= high
    assert within / 2000 > CONFIDENCE - 0.015


@pytest.mark.parametrize(
    ("ends", "is_most", "verdict"),
    [
        ((8, 9), True, Verdict.HOLDS),
        ((8, 10), True, Verdict.HOLDS),
        ((9, 11), True, Verdict.CANNOT_TELL),
        ((10, 11), True, Verdict.CANNOT_TELL),
        ((10.1, 11), True, Verdict.FAILS),
        ((10.1, 11), False, Verdict.HOLDS),
        ((10, 11), False, Verdict.HOLDS),
        ((9, 10), False, Verdict.CANNOT_TELL),
        ((8, 9.9), False, Verdict.FAILS),
        ((-np.inf, np.inf), True, Verdict.CANNOT_TELL),
        ((-np.inf, np.inf), False, Verdict.CANNOT_TELL),
    ],
)
def test_a_bound_is_judged_by_the_whole_interval(ends: tuple[float, float], is_most: bool, verdict: Verdict) -> None:
    assert judge(ends, 10, is_most=is_most) == verdict


def test_slices_take_turns_forwards_and_backwards() -> None:
    asked: list[str] = []
    slices = {name: lambda name=name: asked.append(name) or len(asked) for name in "abc"}
    rounds = in_turns(slices, 3, Script(lambda _: False))
    assert "".join(asked) == "abc" + "cba" + "abc"
    assert sorted((row["round"], row["subject"]) for row in rounds.rows) == [
        (number, name) for number in range(3) for name in "abc"
    ]
    assert all(row["is_still"] for row in rounds.rows)
    columns = rounds.columns()
    assert list(columns.evaluate("b.ns - a.ns")) == [1, -1, 1]
    assert list(columns.evaluate("c.ns")) == [3, 4, 9]


def test_a_slice_beside_which_the_machine_did_something_else_is_taken_again() -> None:
    control = Script(lambda number: number == 1)
    numbers = count()
    rounds = in_turns({"a": lambda: next(numbers), "b": lambda: next(numbers)}, 1, control)
    assert [(row["subject"], row["ns"], row["is_still"]) for row in rounds.rows] == [("a", 0, True), ("b", 2, True)]


def test_a_round_with_a_slice_that_never_had_peace_is_left_out() -> None:
    control = Script(lambda number: number < TRIES)
    figure = resume_of(in_turns({"resume": lambda: 1.0, "generator": lambda: 1.0, "other": lambda: 1.0}, 3, control))
    assert (len(figure.values), figure.left_out) == (2, 1)
    figure = resume_of(in_turns({"resume": lambda: 1.0, "generator": lambda: 1.0}, 9, Script(lambda _: True)))
    assert (len(figure.values), figure.left_out) == (9, 9)
    assert figure.median == 1
    assert figure.verdict(5, is_most=True) is Verdict.CANNOT_TELL


def test_a_number_that_no_slice_found_leaves_out_what_names_it() -> None:
    found = in_turns({"resume": lambda: 1.0, "generator": lambda: {"ms": 1.0}}, 1, Script(lambda _: False))
    assert figures_of(found) == []
    with pytest.raises(NotMeasuredError, match="ns"):
        found.columns().evaluate("generator.ns")


def test_a_setting_that_is_not_there_leaves_out_the_text_that_names_it() -> None:
    slices = {name: lambda: {"per_second": 1.0} for name in ("get_all", "echo_all")}
    named = {figure.name for figure in figures_of(in_turns(slices, 1, Script(lambda _: False)))}
    assert "live-all" in named and "live-tenants" not in named


def test_what_a_figure_does_not_name_leaves_none_of_its_rounds_out() -> None:
    slices = {"resume": lambda: 1.0, "generator": lambda: 1.0, "other": lambda: 1.0}
    figure = resume_of(in_turns(slices, 3, Script(lambda number: 2 <= number < 2 + TRIES)))
    assert (len(figure.values), figure.left_out) == (3, 0)


def test_a_machine_that_never_rests_does_not_make_it_take_for_ever() -> None:
    """Some slices without peace in a row, and each has one try only; behind one in peace, all their tries again."""
    asked = count()
    control = Script(lambda number: not 21 <= number <= 22)
    in_turns({"a": lambda: next(asked)}, RESTLESS + 5, control)
    assert next(asked) == RESTLESS * TRIES + 3 + 2  # all tries of the first; one each of three; the two in peace
    assert control.take(lambda: next(asked)).result == RESTLESS * TRIES + 5 + TRIES


def test_where_as_many_rounds_are_left_out_as_kept_nothing_can_be_told() -> None:
    for left_out, verdict in ((8, Verdict.HOLDS), (9, Verdict.CANNOT_TELL)):
        assert Figure("x", "a time", "ns", (1.0,) * 9, left_out=left_out).verdict(5, is_most=True) is verdict


def test_what_a_slice_found_has_no_say_in_whether_it_counts() -> None:
    values = iter([1.0, 1e9, -5.0, float("nan")])
    rounds = in_turns({"a": lambda: next(values)}, 4, Script(lambda _: False))
    assert [row["is_still"] for row in rounds.rows] == [True] * 4


def test_rounds_with_a_noisy_neighbour_give_the_verdict_of_those_without() -> None:
    """A neighbour that takes a CPU for 50 ms of each second, and slices of 100 ms: where it is, the value is nonsense."""
    random = np.random.default_rng(3)
    starts = count()

    def is_disturbed(number: int) -> bool:
        return number * 100 % 1000 < 150

    def slice_of(mean: float) -> float:
        return 1000.0 if is_disturbed(next(starts)) else float(random.normal(mean, mean / 5))

    rounds = in_turns({"mine": lambda: slice_of(1.0), "other": lambda: slice_of(2.0)}, 30, Script(is_disturbed))
    columns = rounds.columns()
    ratios = tuple(columns.kept("other.ns / mine.ns")[0])
    assert max(ratios) < 10
    assert judge(interval(ratios), 1.5, is_most=False) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("peace", "ratio", "alone"),
    [
        ({"mine": [0], "other": [0, 1]}, 2.0, 1.0),
        ({"mine": [0], "other": [1]}, 3.5, 1.0),  # no round in peace has both: all are taken
        ({"mine": [], "other": [1]}, 3.5, 2.0),
    ],
)
def test_what_two_subjects_are_compared_by_is_there_however_their_peace_falls(
    peace: dict[str, list[int]], ratio: float, alone: float
) -> None:
    found = Observations()
    for name, values in (("mine", [1.0, 3.0]), ("other", [2.0, 15.0])):
        for number, value in enumerate(values):
            found.add(name, value, number, is_still=number in peace[name])
    columns = found.columns()
    formulas = {"ratio": "other.ns / mine.ns", "alone": "mine.ns", "nobody": "nobody.ns"}
    assert columns.medians(formulas) == {"ratio": ratio, "alone": alone}
    assert columns.told("{(other.ns / mine.ns).median():.1f} ×, {mine.ns.median():.1f}") == f"{ratio:.1f} ×, {alone:.1f}"


def test_a_text_takes_all_rounds_where_those_in_peace_lack_a_number() -> None:
    found = Observations()
    found.add("mine", {"p50": 1.0}, 0)
    found.add("mine", {"p50": 3.0, "p99": 4.0}, 1, is_still=False)
    assert found.columns().told("{mine.p50.median():g} of {mine.p99.median():g}") == "1 of 4"


@pytest.mark.parametrize(
    ("used_ns", "steal_ticks", "expected"),
    [
        (0, 0, True),
        (2 * MS, 0, True),
        (2 * MS + 1, 0, False),
        (0, module.STEAL_TICKS_MIN, True),  # 20 ms of 100
        (0, 3, False),
    ],
)
def test_others_may_use_a_share_of_a_slice(used_ns: int, steal_ticks: int, expected: bool) -> None:
    before = Others({5: 7 * MS, 6: 100 * MS}, 40, 1000 * MS)
    after = Others({5: 7 * MS + used_ns, 7: 0}, 40 + steal_ticks, 1100 * MS)  # 6 has ended, 7 has begun
    assert is_still(before, after) is expected


def test_a_stranger_counts_and_a_child_does_not() -> None:
    """A child is what is measured; one that left us for init is anybody's."""
    control, spin = Control(), "x = 0\nwhile x < 3_000_000: x += 1\nprint(flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid not in control.read().processes
    finally:
        child.communicate("\n")
    orphan = f"import os\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\n{spin}"
    parent = subprocess.Popen([sys.executable, "-c", orphan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdin is not None
    pid = int(parent.stdout.readline())
    parent.wait()
    before = control.read()
    parent.stdout.readline()
    after = control.read()
    parent.stdin.write("\n")
    parent.stdin.close()
    assert after.processes[pid] > before.processes[pid]


def test_taking_tells_of_each_slice() -> None:
    assert Script(lambda _: False).take(lambda: 5) == Taken(5, True)
    assert Script(lambda _: True).take(lambda: 5) == Taken(5, False)

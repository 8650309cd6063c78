"""What the demonstration prints, on a terminal that is none."""

from __future__ import annotations

import io

from rich.console import Console
from splinter_bench.result import Result

from examples.wordnet.questions import Question
from examples.wordnet.report import Reporter, results_table

WIDTH = 140


def console() -> Console:
    return Console(file=io.StringIO(), width=WIDTH)


def text_of(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def question(answer: int) -> Question:
    asked = Question("path_to_root", "path to root", [(1,), (2,)], [3, 3], client=None)  # type: ignore[arg-type]
    for way, latency_ns in ((asked.gets, 30_000), (asked.invoke, 10_000)):
        way.answers.extend((3, answer))
        way.latencies_ns.extend((latency_ns, latency_ns))
    return asked


def table_text(asked: Question) -> str:
    made = console()
    result = Result("echo", depth=1, seconds=2.0, requests=9, recorded=8, lost=0, corrupt=0, checked=0, stale=0)
    result.histogram.record(5_000)
    made.print(results_table([asked], [("the limit", result)]))
    return text_of(made)


def test_a_finished_step_is_one_line_with_its_details() -> None:
    made = console()
    with Reporter(made).step("Counting") as details:
        details.extend(("one", "two"))
    with Reporter(made).counted_step("Loading", 3) as advance:
        advance(3)
    lines = text_of(made).splitlines()
    assert lines[0].startswith("✓ Counting: one, two (")
    assert lines[1].startswith("✓ Loading (")
    assert len(lines) == 2


def test_a_step_that_fails_is_not_reported_as_done() -> None:
    made = console()
    try:
        with Reporter(made).step("Counting"):
            raise ValueError
    except ValueError:
        pass
    assert "✓" not in text_of(made)


def test_the_table_has_both_ways_and_the_limit() -> None:
    text = table_text(question(answer=3))
    assert text.count("equal") == 2 and "differ" not in text
    assert "30.0" in text and "10.0" in text
    assert "100,000" in text  # an invoke of 10 µs: 100,000 in a second
    limit = next(line for line in text.splitlines() if "the limit" in line)
    assert limit.split()[-3:] == ["5.0", "5.0", "4"]  # 8 round trips in 2 s


def test_different_answers_stand_out() -> None:
    assert "1 differ" in table_text(question(answer=4))

"""The whole report: sections, failures, Markdown and HTML."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from splinter_bench.cli import bench_app
from splinter_bench.experiments.case import Case
from splinter_bench.experiments.suite import Progress
from splinter_bench.goals import names_found_by
from splinter_bench.process import bounded
from splinter_bench.report import told, whole
from splinter_bench.report.blocks import Block, Code, Heading, Paragraph, Picture, markdown, page
from splinter_bench.report.charts import Bars, draw
from splinter_bench.report.ratios import ratios_table
from splinter_bench.report.sections import SECTIONS, Section, cases_of, described, promised
from splinter_bench.table import Table

from splinter.errors import SplinterError
from tests.support.commands import CliRunner

PNG = b"\x89PNG"


CHARTS = [[Bars("thousand a second", [("get", {"Splinter": (1.0, 2.0, 3.0)})])]]

BLOCKS: list[Block] = [
    Heading("A < B"), Paragraph("text & more"), Code("a | b"), Table(["", "x"], [["one|two", "2"]]),
    Picture("p", "look", CHARTS, "Bars & dots"),
]  # fmt: skip


def measured(is_quick: bool, progress: Progress) -> dict[str, Any]:
    progress("at work")
    resume = {"name": "resume", "text": "a turn", "unit": "×", "median": 1.6, "interval": [1.55, 1.7], "parts": {}}
    return {"quick": is_quick, "figures": [resume]}


def fails(is_quick: bool, progress: Progress) -> dict[str, Any]:
    raise SplinterError("no luck")


def show(document: dict[str, Any]) -> Sequence[Block]:
    return [Paragraph(f"quick: {document['quick']}")]


FAKES = (Section("good", "What works", measured, show), Section("bad", "What does not", fails, show))


def test_markdown_has_tables_and_links_to_pictures(tmp_path: Path) -> None:
    text = markdown(BLOCKS, tmp_path / "pictures", "pictures")
    for part in (
        "### A < B",
        "text & more",
        "```\na | b\n```",
        "|  | x |\n| --- | ---: |\n| one\\|two | 2 |",
        "](pictures/p.png)\n\nBars & dots",
    ):
        assert part in text
    assert (tmp_path / "pictures" / "p.png").read_bytes().startswith(PNG)


def test_a_page_needs_no_other_file(tmp_path: Path) -> None:
    text = page("T & T", BLOCKS, tmp_path)
    for part in (
        "<h1>T &amp; T</h1>",
        "A &lt; B",
        "text &amp; more",
        "<td>2</td>",
        "data:image/png;base64,iVBORw",
        "<figcaption>Bars &amp; dots<",
    ):
        assert part in text
    assert 'src="p' not in text


def measure(folder: Path, is_quick: bool, **options: Any) -> dict[str, Any]:
    return whole.measure(folder, is_quick, whole.measure_here, command="the command", **{"sections": FAKES, **options})


def test_a_section_that_fails_is_told_and_leaves_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = measure(tmp_path, True)
    assert document["sections"]["good"]["quick"] is True
    assert document["failures"] == {"bad": "no luck"}
    assert "What works" in capfd.readouterr().err
    text = markdown(whole.blocks_of(json.loads(json.dumps(document)), FAKES), tmp_path, "x")
    for part in (
        "the command",
        "short runs",
        "no luck",
        "quick: True",
        "| extensions.resume | a turn | 1.60 × | ≤ 1 × | 1.55 × … 1.70 × | fails |",
    ):
        assert part in text
    assert "not measured" in text  # all other goals


def test_a_document_is_written_and_put_between_the_markers(tmp_path: Path) -> None:
    document = measure(tmp_path / "measured", False)
    as_json, as_html = whole.write(document, tmp_path / "out")
    assert json.loads(as_json.read_text()) == document
    assert "What is promised" in as_html.read_text()
    (tmp_path / "benchmarks.md").write_text(f"before\n{whole.BEGIN}\nold\n{whole.END}\nafter\n")
    for _ in range(2):
        whole.write_docs(document, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.startswith(f"before\n{whole.BEGIN}\n")
    assert text.endswith(f"{whole.END}\nafter\n")
    assert text.count("What is promised") == 1
    assert "old" not in text.split()
    (tmp_path / "benchmarks.md").write_text("nothing here")
    with pytest.raises(SplinterError, match="begin"):
        whole.write_docs(document, tmp_path)


def test_pieces_are_put_together(tmp_path: Path) -> None:
    better = (Section("bad", "What does not", measured, show),)
    measure(tmp_path, True)
    resumed = measure(tmp_path, True, resume=True, sections=FAKES[:1] + better)
    assert resumed["failures"] == {}
    assert list(resumed["sections"]) == ["good", "bad"]
    good = resumed["sections"]["good"]
    assert measure(tmp_path, True, only=["bad"])["failures"] == {"bad": "no luck"}
    assert whole.read(tmp_path / "report.json")["sections"]["good"] == good  # not measured again
    with pytest.raises(SplinterError, match="otherwise"):
        measure(tmp_path, False, resume=True)
    assert measure(tmp_path, False)["is_quick"] is False  # without either: anew
    with pytest.raises(SplinterError, match="good, bad"):
        measure(tmp_path, False, only=["nobody"])


def test_what_was_measured_before_an_interruption_is_there(tmp_path: Path) -> None:
    def run(section: Section, is_quick: bool) -> dict[str, Any]:
        if section.name == "bad":
            raise KeyboardInterrupt
        return whole.measure_here(section, is_quick)

    with pytest.raises(KeyboardInterrupt):
        whole.measure(tmp_path, True, run, command="x", sections=FAKES)
    assert list(whole.read(tmp_path / "report.json")["sections"]) == ["good"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGALRM])
def test_a_signal_interrupts_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    removed = []
    with pytest.raises(KeyboardInterrupt) as caught, bounded(60):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            removed.append(True)
    assert removed
    assert caught.value.args == (("took longer than 60 s",) if number == signal.SIGALRM else ())
    assert signal.getsignal(number) == before


class _Finalized:
    """Is told to end while a finalizer runs."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_in_a_finalizer_interrupts_too() -> None:
    came = threading.Event()
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), bounded(60):
        _Finalized()
        came.wait(10)
    assert sys.unraisablehook == before


def test_a_process_that_ends_without_a_document_is_a_failure() -> None:
    with pytest.raises(SplinterError, match="status 3"):
        whole.in_child(["sh", "-c", "exit 3"], FAKES[0], True)


def test_what_is_no_whole_report_does_not_go_into_the_documents(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"{whole.BEGIN}\nold\n{whole.END}\n")
    before = page.read_bytes()
    runner = CliRunner()
    refused = runner.invoke(bench_app, ["all", "--quick", "--docs", str(tmp_path)])
    assert isinstance(refused.exception, SplinterError)
    for number, (is_quick, sections) in enumerate(((True, FAKES[:1]), (False, FAKES))):  # the second of FAKES fails
        report, _ = whole.write(measure(tmp_path / f"{number}", is_quick, sections=sections), tmp_path / f"{number}")
        ran = runner.invoke(bench_app, ["all", "--of", str(report), "--out", str(tmp_path / "out"), "--docs", str(tmp_path)])
        assert "stays as it is" in ran.output
        assert ran.exit_code == (0 if is_quick else 1)
        assert page.read_bytes() == before


def test_our_documentation_has_the_markers() -> None:
    text = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert text.index(whole.BEGIN) < text.index(whole.END)


def test_sections_have_names_of_their_own() -> None:
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


def case_rows(label: str, **settings: Any) -> list[dict[str, Any]]:
    place = {
        "label": label,
        "workload": "get",
        "operation": "all",
        "is_series": False,
        "depth": 1,
        "value_bytes": 16,
        **settings,
    }
    numbers = {"per_second": 2000.0, "p50": 2000, "p99": 3000, "p999": 4000}
    ours = {"lost": 3, "requests": 12, "worker_ns": 7.0, "cpu_ns_per_request": {"client": 5.0, "splinter-w0": 7.0}}
    return [
        {**place, "subject": "get", "round": 0, **numbers, **ours},
        {**place, "subject": "AF_XDP echo", "round": 0, **numbers},
    ]


def document_of(kind: str) -> dict[str, Any]:
    rows = case_rows("one", rate=20_000) + case_rows("two", rate=100_000, value_bytes=65536)
    rows += case_rows("three", rate=5, is_series=True)
    series = [
        {"label": "three", "subject": "get", "round": 0, "time": n / 10, "count": 1, "p50": 5, "p99": 0} for n in range(10)
    ]
    if kind == "live":
        rates = {"offered_per_second": 2.0, "per_second": 2.0}
        rows = [{"label": "one", "workload": "get", "subject": name, "round": 0, **rates} for name in ("get", "AF_XDP echo")]
    return {"experiment": kind, "runs": rows, "series": series, "failures": ["four: too bad"], "command": "run one"}


@pytest.mark.parametrize("name", [about["name"] for about in described() if "cases" in about])
def test_rows_of_runs_are_shown(name: str, tmp_path: Path) -> None:
    (section,), (kind,) = whole.chosen([name]), [about["told"] for about in described() if about["name"] == name]
    text = markdown(section.show(document_of(kind)), tmp_path, "p")
    for part in ("one", "run one", "four: too bad", ".png", *(("| get |",) if kind == "live" else ("25.0%", "| 7 | 5 |"))):
        assert part in text
    (picture,) = tmp_path.glob("*.png")
    assert picture.read_bytes().startswith(PNG)


def test_a_run_is_told_with_its_operations_its_limits_and_what_went_wrong() -> None:
    place = {
        "operation": "all",
        "round": 0,
        "failed": 1,
        "count": 97,
        "errors": {"BUSY": 3},
        "unsent": 5,
        "lost": 0,
        "max": 9000,
    }
    numbers = {"per_second": 2000.0, "p50": 2000, "p90": 1, "p99": 3000, "p999": 4000, "p9999": 5000}
    ours = {**place, **numbers, "subject": "ycsb-a", "cpu_ns_per_request": {"client": 5.0, "splinter-w0": 7.0}}
    echo = {**place, **numbers, "subject": "AF_XDP echo", "p50": 1000, "per_second": 4000.0, "errors": {}}
    get = {"subject": "ycsb-a", "operation": "get", "round": 0, **numbers}
    document = {"experiment": "run", "runs": [ours, get, echo]}
    (table,) = told.tables(document)
    assert table.title == "ycsb-a: medians of 1 runs; latencies in µs"
    assert [row[:2] for row in table.rows] == [["ycsb-a", "2,000"], ["  get", "2,000"], ["AF_XDP echo", "4,000"]]
    assert told.notes(document) == [
        "AF_XDP echo: latency 2.00 × its p50, 50% of its rate",
        "CPU time for each request: client 5 ns, splinter-w0 7 ns",
        "5 arrivals could not be sent in time",
        "ycsb-a: 3.000% of the requests were answered BUSY",
    ]


def test_the_report_tells_which_invokes_the_kernel_did_not_run() -> None:
    def document(*ways: str, **settings: list[str]) -> dict[str, Any]:
        row = {"case": "tree traversal", "x": 1, "round": 0, "time_ns": 2000.0, "per_second": 3000.0}
        return {"experiment": "benefit", "command": "", "runs": [row | {"subject": way} for way in ways], "settings": settings}

    def said(document: dict[str, Any]) -> list[str]:
        return [block.text for block in told.blocks(document, "benefit", "") if isinstance(block, Paragraph)]

    assert said(document("Splinter invoke", left_out=["a (why)", "b"])) == ["Not in the kernel: a (why); b."]
    (closed_loop,) = said(document("Splinter invoke", "Splinter invoke, kernel", left_out=[]))
    assert "on the client's CPU" in closed_loop and "0.8 ×" in closed_loop
    assert said(document("Splinter invoke")) == []


def test_a_case_is_its_command_line() -> None:
    assert Case("ycsb-a", depth=64, live=True).command() == "splinter bench run --lab --workload ycsb-a --depth 64 --live"
    invoke = Case(invoke="scan", argument=("a=const:1", "b=zipf:5"), preload=True)
    assert invoke.command() == "splinter bench run --lab --invoke scan --argument a=const:1 --argument b=zipf:5 --preload"


def test_every_case_of_the_report_is_a_command_that_exists() -> None:
    known = {option for name in typer.main.get_command(bench_app).commands["run"].params for option in name.opts}
    cases = [case for about in described() if "cases" in about for _, case in cases_of(about)]
    assert len(cases) == 12 + 10 + 14 + 5 + 13 + 2
    for case in cases:
        words = shlex.split(case.command())
        assert {word for word in words if word.startswith("--")} <= known


def test_a_list_of_values_stands_for_as_many_cases() -> None:
    asked = {
        "label": "{workload}, {value_bytes:,}",
        "workload": ["get", "put"],
        "value_bytes": [16, 4096],
        "argument": [["a", "b"]],
    }
    found = dict(cases_of({"cases": [asked], "stored_bytes_max": 4096}))
    assert list(found) == ["get, 16", "get, 4,096", "put, 16", "put, 4,096"]
    assert found["put, 4,096"] == Case("put", value_bytes=4096, keys=1, argument=("a", "b"), seconds=0.2)


def test_every_goal_that_is_promised_is_found_by_a_section() -> None:
    sections = [about["goals"] for about in described() if "goals" in about]
    beside = [about["suite"].get("rivals", ["echo"]) for about in described() if "suite" in about]
    found = {name for found_by in [*sections, *beside] for each in found_by for name in names_found_by(each)}
    assert {goal.figure for goal in promised()} == found


def test_the_head_has_ratios_to_limits_and_rivals() -> None:
    def row(name: str, depth: int, **ratios: float) -> dict[str, Any]:
        return {"subject": name, "depth": depth, "round": 0, **ratios}

    limit = [row("echo", 1), row("get", 1, latency_over_echo=1.2), row("get", 64, throughput_of_echo=0.9)]
    redis = [row("get", 1), row("redis get", 1, latency_over_ours=12.0), row("redis get", 50, throughput_of_ours=0.125)]
    requests = [
        row(name, 64, workload="get", operation="all", per_second=rate) for name, rate in (("get", 3), ("XDP_TX echo", 4))
    ]
    found = ratios_table({"sections": {"limit": {"runs": limit}, "redis": {"runs": redis}, "requests": {"runs": requests}}})
    assert found.rows == [
        ["get", "AF_XDP echo", "1.20 ×", "90%", "64"],
        ["get", "XDP_TX echo", "", "75%", "64"],
        ["redis get", "our get", "12.00 ×", "1/8.0", "50"],
    ]


def test_pictures_are_drawn_from_documents(tmp_path: Path) -> None:
    benefit = [
        {"case": case, "x": x, "subject": way, "round": 0, "time_ns": 2.0, "per_second": 2.0}
        for case, xs in (("tree traversal", (1, 2)), ("TAO's mix", (200,)), ("decision forest", (20,)))
        for x in xs
        for way in ("Splinter gets", "Redis Lua")
    ]
    suite = [
        {"subject": name, "depth": depth, "by": "slices", "round": 0, "per_second": 2.0, "p50": 2.0}
        for name in ("echo", "get", "redis get") for depth in (1, 50)
    ]  # fmt: skip
    for name, rows in (("benefit", benefit), ("suite", suite)):
        charts = told.charts({"experiment": name, "runs": rows})
        draw(charts, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
    with pytest.raises(SplinterError):
        draw(charts, tmp_path / "suite.no-such-kind")

"""The whole report: sections, failures, Markdown and HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from splinter.bench import benefit_picture, suite_picture, whole
from splinter.bench.blocks import Block, Code, Heading, Paragraph, Picture, Table, markdown, page
from splinter.bench.sections import SECTIONS, Section
from splinter.bench.suite import Progress
from splinter.errors import SplinterError

PNG = b"\x89PNG"


def draw(path: Path) -> None:
    path.write_bytes(PNG)


BLOCKS: list[Block] = [
    Heading("A < B"), Paragraph("text & more"), Code("a | b"), Table(["", "x"], [["one|two", "2"]]), Picture("p", "look", draw),
]  # fmt: skip


def measured(is_quick: bool, progress: Progress) -> dict[str, Any]:
    progress("at work")
    resume = {"name": "resume", "text": "a turn", "unit": "ns", "median": 16.0, "min": 15.0, "max": 17.0, "parts": {}}
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
        "](pictures/p.png)",
    ):
        assert part in text
    assert (tmp_path / "pictures" / "p.png").read_bytes() == PNG


def test_a_page_needs_no_other_file(tmp_path: Path) -> None:
    text = page("T & T", BLOCKS, tmp_path)
    for part in ("<h1>T &amp; T</h1>", "A &lt; B", "text &amp; more", "<td>2</td>", "data:image/png;base64,iVBORw=="):
        assert part in text
    assert 'src="p' not in text


def test_a_section_that_fails_is_told_and_leaves_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = whole.measure(True, "the command", FAKES)
    assert document["sections"]["good"]["quick"] is True
    assert document["failures"] == ["What does not: no luck"]
    assert "What works" in capfd.readouterr().err
    text = markdown(whole.blocks_of(json.loads(json.dumps(document)), FAKES), tmp_path, "x")
    for part in (
        "the command",
        "short runs",
        "no luck",
        "quick: True",
        "| extensions.resume | a turn | 16.0 ns | ≤ 15 ns | 15.0 ns",
    ):
        assert part in text
    assert "not measured" in text  # all other goals


def test_a_document_is_written_and_put_between_the_markers(tmp_path: Path) -> None:
    document = whole.measure(False, "the command", FAKES)
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


def test_our_documentation_has_the_markers() -> None:
    text = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert text.index(whole.BEGIN) < text.index(whole.END)


def test_sections_have_names_of_their_own() -> None:
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


def test_pictures_are_drawn_from_documents(tmp_path: Path) -> None:
    spread = {"median": 2.0, "min": 1.0, "max": 3.0}
    rows = [
        {"case": case, "x": x, "way": way, "time_ns": spread, "per_second": spread}
        for case, xs in (("tree traversal", (1, 2)), ("decision forest", (20,)))
        for x in xs
        for way in ("Splinter gets", "Redis Lua")
    ]
    benefit_picture.draw(rows, tmp_path / "benefit.png")
    results = [
        {"name": name, "depth": depth, "per_second": spread, "latency_ns": {"p50": spread}}
        for name in ("echo", "get", "redis get") for depth in (1, 50)
    ]  # fmt: skip
    suite_picture.draw({"results": results}, tmp_path / "suite.png")
    for name in ("benefit", "suite"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
    with pytest.raises(SplinterError):
        suite_picture.draw({"results": results}, tmp_path / "suite.no-such-kind")

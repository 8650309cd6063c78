"""The library's entries give the same under CPython and compiled, the latter also when they yield wherever they can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.cli.main import app
from splinter.errors import SplinterError
from splinter.ext import ExtensionFault, library
from splinter.ext.abi import ExtensionError
from splinter.limits import TASK_BUDGET
from tests.support import library as checks
from tests.support.commands import CliRunner
from tests.support.library import LocalSide, NativeSide, Side


@pytest.fixture(params=["cpython", "compiled", "compiled, budget 1"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "cpython":
        yield LocalSide()
        return
    native = NativeSide(TASK_BUDGET if request.param == "compiled" else 1)
    yield native
    native.runner.close()


@pytest.mark.parametrize(
    "check",
    [
        checks.check_get_and_put, checks.check_aggregate, checks.check_scan, checks.check_long, checks.check_err,
        checks.check_digests, checks.check_objects, checks.check_associations, checks.check_transfer,
    ],
)  # fmt: skip
def test_entry(side: Side, check: object) -> None:
    check(side)  # type: ignore[operator]


@pytest.mark.parametrize("seed", [1, 2])
def test_long_list(side: Side, seed: int) -> None:
    checks.check_long_list(side, 400, seed, id1=1)


@pytest.mark.parametrize(("table", "every"), [("digits", 60), ("breast_cancer", 20)])
def test_trees(side: Side, table: str, every: int) -> None:
    checks.check_trees(side, table, every)


@pytest.mark.parametrize("table", ["digits", "breast_cancer"])
def test_trees_on_every_row(table: str) -> None:
    native = NativeSide(TASK_BUDGET)
    checks.check_trees(native, table, 1)
    native.runner.close()


def test_full_list() -> None:
    """A list that is full refuses more, loses nothing, and still takes what needs no other page."""
    side = NativeSide(TASK_BUDGET)
    data = b"x" * 255
    count = 0
    with pytest.raises(ExtensionFault) as refused:
        while True:
            side.invoke("assoc_add", 1, 1, count, count, data)
            count += 1
    assert refused.value.code == 2
    assert count == 128 * 5  # five records of this size in each page
    assert side.invoke("assoc_count", 1, 1) == count
    assert [id2 for id2, _, _ in checks.read_list(side, 1, 1)] == list(range(count - 1, -1, -1))
    assert side.invoke("assoc_add", 1, 1, count - 1, count - 1, b"shorter") is False
    assert side.invoke("assoc_add", 1, 1, count, count, b"fits") is True
    side.runner.close()


def test_bad_never_ends_by_itself() -> None:
    native = NativeSide(TASK_BUDGET)
    with pytest.raises(ExtensionFault) as raised:
        native.invoke("bad")
    assert raised.value.error == ExtensionError.BUDGET
    native.runner.close()


def test_index() -> None:
    for name in library.NAMES:
        entry = library.entry(name)
        assert entry.description.endswith(".")
        assert entry.sources
        for extension, source in entry.sources.items():
            assert source.count("@extension\n") == 1
            assert f"def {extension}(" in source
    with pytest.raises(SplinterError, match="it has get, put"):
        library.entry("nothing")


def test_sources_keep_line_numbers() -> None:
    """An error's line is that of the file that users read."""
    line = library.text("tao").splitlines().index("        raise Error(TOO_MUCH_DATA)") + 1
    with pytest.raises(ExtensionFault, match=f"line {line}"):
        LocalSide().invoke("assoc_add", 1, 1, 1, 1, b"x" * 256)


def test_commands_list_and_show_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = CliRunner().invoke(app, ["library"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0
    for name in library.NAMES:
        assert name in listed.output
    shown = CliRunner().invoke(app, ["library", "md5"])
    assert shown.output == library.text("md5")
    assert "it has get, put" in str(CliRunner().invoke(app, ["library", "nothing"]).stderr)

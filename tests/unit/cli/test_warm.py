"""What ``splinter warm`` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from splinter.cli.warm import warm
from splinter.errors import SplinterError
from splinter.server.supervisor import warm as module
from splinter.server.supervisor.warm import Step


def steps(count: int) -> list[Step]:
    return [Step(f"function{number}", lambda: True, frozenset()) for number in range(count)]


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One element for each time that it is written down that nothing is missing."""
    found: list[bool] = []
    monkeypatch.setattr(module, "remember", lambda: found.append(True))
    return found


def test_nothing_to_do_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], remembered: list[bool]
) -> None:
    monkeypatch.setattr(module, "missing", list)
    warm()
    assert capsys.readouterr().out == "nothing to do: everything is compiled\n"
    assert remembered


def test_it_says_how_far_it_is_and_how_much_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], remembered: list[bool]
) -> None:
    monkeypatch.setattr(module, "missing", lambda: steps(3))
    warm()
    assert remembered
    first, *_, before, last = capsys.readouterr().out.splitlines()
    assert "0 of 3 functions" in first and "3 of 3 functions" in before
    assert last.startswith("compiled 3 functions in ")


def test_what_could_not_be_saved_is_an_error(monkeypatch: pytest.MonkeyPatch, remembered: list[bool]) -> None:
    def fails(_: Sequence[Step], tell: Callable[[int, str], None]) -> bool:
        return False

    monkeypatch.setattr(module, "missing", lambda: steps(3))
    monkeypatch.setattr(module, "compile_ahead", fails)
    with pytest.raises(SplinterError, match="not everything could be compiled and saved"):
        warm()
    assert not remembered

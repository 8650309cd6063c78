"""``splinter events``: what it shows, and how it ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from splinter.cli import events
from splinter.cli.main import app
from splinter.cli.target import Server
from splinter.errors import ControlConnectionError, ControlError, SplinterError
from splinter.server import instance as instances
from tests.support.commands import CliRunner
from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import Responder


def one(number: int, time_ns: int = 1_800_000_000_250_000_000) -> dict[str, Any]:
    told = {"level": "info", "kind": "tenant.created", "text": "x", "fields": {}}
    return {"number": number, "time_ns": time_ns, "tenant": 7, **told}


def reply(*numbers: int, missed: int = 0, server: int = 1, after: int = 0) -> dict[str, Any]:
    last = max(numbers, default=after)
    return {"events": [one(n) for n in numbers], "next": last, "newest": last, "missed": missed, "server": server}


class Script:
    """Answers in order; what is an exception is raised."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, after: int | None) -> dict[str, Any]:
        self.asked.append(after)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow(script: Script, on_failure=lambda: False, **options) -> list[Any]:
    found = events.stream(script, None, on_failure, follow=True, pause=lambda seconds: None, **options)
    return [item.get("number", item) for item in found]


def test_following_goes_on_where_it_was_and_tells_what_was_missed():
    script = Script(reply(1, 2), reply(after=2), reply(9, missed=6), ControlConnectionError("x"))
    assert follow(script) == [1, 2, {"missed": 6}, 9]
    assert script.asked == [None, 2, 2, 9]


def test_a_control_process_that_is_replaced_is_asked_again():
    script = Script(reply(1), ControlConnectionError("x"), ControlConnectionError("x"), reply(2), ControlConnectionError("x"))
    failures = iter([True, True, False])
    assert follow(script, lambda: next(failures)) == [1, 2]
    assert script.asked == [None, 1, 1, 1, 2]


def test_another_server_is_not_taken_for_the_same():
    with pytest.raises(SplinterError, match="started anew"):
        follow(Script(reply(1), reply(2, server=2)))


def test_without_follow_all_pages_are_read_and_a_failure_is_one():
    script = Script(reply(1, 2), reply(3), reply(after=3))
    found = events.stream(script, None, lambda: True, follow=False)
    assert [item["number"] for item in found] == [1, 2, 3]
    with pytest.raises(ControlConnectionError):
        list(events.stream(Script(ControlConnectionError("x")), None, lambda: True, follow=False))


@pytest.mark.parametrize("name", ["events", "next", "newest", "missed", "server"])
@pytest.mark.parametrize("value", [None, "x", [1], [{}], {"a": 1}])
def test_what_is_no_reply_is_told_as_the_servers_mistake(name, value):
    with pytest.raises(ControlError, match="no reply of a Splinter server"):
        follow(Script({**reply(1), name: value}))


def test_patience_ends(monkeypatch):
    now = [0.0]
    patience = events.Patience(Server("127.0.0.1", 1, None, None), clock=lambda: now[0])
    for second in range(6):
        now[0] = second
        assert patience()
    now[0] = 5.5
    with pytest.raises(SplinterError, match="has not answered for 5 s"):
        patience()
    now[0] = 100.0  # it answered in between
    assert patience()


def test_a_stop_is_told_from_a_death(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPLINTER_RUN_DIR", str(tmp_path))
    patience = events.Patience(Server("127.0.0.1", 1, None, "default"))
    assert patience() is False and "was stopped" in capsys.readouterr().err
    folder = instances.run_dir("default")
    folder.mkdir(mode=0o755)
    (folder / "server.json").write_text("{}")
    with pytest.raises(SplinterError, match="has died"):
        patience()


def test_the_command_prints_lines_or_documents(responders: tuple[Responder, ControlResponder]):
    _, control = responders
    control.answer = lambda request: {"ok": True, **(reply(5, missed=4) if request.get("after", 0) < 5 else reply(after=5))}
    text = CliRunner().invoke(app, ["events", "--since", "0"])
    assert text.output == "… 4 events are kept no more, or were lost\n5 2027-01-15T08:00:00.250Z info tenant.created: x\n"
    found = [json.loads(line) for line in CliRunner().invoke(app, ["events", "--since", "0", "--json"]).output.splitlines()]
    assert found == [{"missed": 4}, one(5)]
    later = CliRunner().invoke(app, ["events", "--since", "2027-01-15T09:00:00+00:00"])
    assert "tenant.created" not in later.output and later.exit_code == 0
    assert CliRunner().invoke(app, ["events", "--since", "yesterday"]).exit_code == 2


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(("since", "is_told"), [("2027-01-15T08:00:00", True), ("2027-01-15T08:00:01", False)])
def test_times_are_taken_as_they_are_told(
    responders: tuple[Responder, ControlResponder], monkeypatch: pytest.MonkeyPatch, zone: str, since: str, is_told: bool
) -> None:
    """A moment that was copied from an event means that moment, wherever the machine is."""
    responders[1].answer = lambda request: {"ok": True, **(reply(5) if request.get("after", 0) < 5 else reply(after=5))}
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for end in ("", "Z"):
            told = CliRunner().invoke(app, ["events", "--since", since + end]).output
            assert ("tenant.created" in told) == is_told
    finally:
        monkeypatch.undo()
        time.tzset()

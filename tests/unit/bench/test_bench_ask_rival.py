"""A slice of what a rival is asked: what is a figure, what is asked again, and what is refused."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from splinter_bench.experiments.bench import ask_rival
from splinter_bench.generators.text_client import Script
from splinter_bench.result import Result
from splinter_bench.subjects.session import SLICE_TRIES

from splinter.errors import SplinterError

SCRIPT = Script("redis get", [b"?"], [b"!"])
NOTHING = Result("redis get", 1, 0.1, requests=16)


class Client:
    """Finds these results, one after the other."""

    def __init__(self, *results: Result) -> None:
        self.results = list(results)

    def run(self, script: Script, **settings: Any) -> Result:
        return self.results.pop(0)


def ask(client: Client) -> Result:
    """By a session that has nothing to detach."""
    load = SimpleNamespace(detach=lambda: None)
    session: Any = SimpleNamespace(load=load, client_core=min(os.sched_getaffinity(0)))
    rival: Any = client
    return ask_rival(session, rival, SCRIPT, 0.1)


def test_what_a_busy_machine_let_nothing_through_of_is_asked_again() -> None:
    found = Result("redis get", 1, 0.1, requests=16, recorded=16)
    client = Client(*[NOTHING] * (SLICE_TRIES - 1), found, NOTHING)
    assert ask(client) is found
    assert client.results == [NOTHING]


def test_a_rival_that_never_answers_is_refused() -> None:
    with pytest.raises(SplinterError, match="no reply"):
        ask(Client(*[NOTHING] * SLICE_TRIES))


@pytest.mark.parametrize("wrong", [{"corrupt": 1}, {"lost": 1}])
def test_a_wrong_reply_is_refused_at_once(wrong: dict[str, int]) -> None:
    with pytest.raises(SplinterError, match=r"1 wrong|1 lost"):
        ask(Client(Result("redis get", 1, 0.1, requests=16, recorded=15, **wrong)))  # type: ignore[arg-type]

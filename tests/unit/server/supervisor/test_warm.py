"""Compiling ahead: in what order, by whom, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import njit

from splinter.server.supervisor import warm
from splinter.server.supervisor.warm import Step, by_lines, compile_ahead
from splinter.worker.tasks import fair, invoke
from splinter.worker.udp import messages

PROGRAM = """
from splinter.server.supervisor import warm
from splinter.native import clock
steps = [step for step in warm.missing() if step.name in {"now_ns", "_ticks_during", "read_ticks", "cycles"}]
print([step.name for step in steps], {step.name for step in warm.missing()} >= {"serve_xdp", "serve_udp", "helper_put"})
names = [step.name for step in steps]
print(warm.compile_ahead([step for step in steps if not step.needs], lambda done, name: None))
print([step.name for step in warm.missing() if step.name in names])
"""


@njit
def send(address: int) -> int:
    return address


def calls(address: int) -> int:
    return send(address)


def reads(record: Any) -> Any:
    return record.send


def steps_in(folder: Path, *needs: set[int]) -> list[Step]:
    """Steps that each leave a file with their process's number, and fail where one of those they need has left none."""

    def run(place: int) -> bool:
        if any(not (folder / str(needed)).exists() for needed in needs[place]):
            return False
        (folder / str(place)).write_text(str(os.getpid()))
        return True

    return [Step(f"f{place}", lambda place=place: run(place), frozenset(needed)) for place, needed in enumerate(needs)]  # type: ignore[misc]


def test_each_step_is_run_once_after_those_that_it_needs(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    assert compile_ahead(steps_in(tmp_path, set(), {0}, {1}, set(), {2, 3}), lambda done, name: told.append((done, name)))
    assert [done for done, _ in told] == [1, 2, 3, 4, 5]
    assert sorted(name for _, name in told) == ["f0", "f1", "f2", "f3", "f4"]
    assert str(os.getpid()) not in [(tmp_path / str(place)).read_text() for place in range(5)]


def test_a_step_that_is_not_saved_ends_the_rest(tmp_path: Path) -> None:
    steps = [Step("lost", lambda: False, frozenset()), *steps_in(tmp_path, set())]
    assert not compile_ahead([steps[0], Step("next", steps[1].run, frozenset({0}))], lambda done, name: None)
    assert not (tmp_path / "0").exists()


def test_an_exception_meanwhile_leaves_no_process(tmp_path: Path) -> None:
    def interrupt(done: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_ahead(steps_in(tmp_path, set(), {0}), interrupt)
    with pytest.raises(ChildProcessError):
        os.waitpid(int((tmp_path / "0").read_text()), os.WNOHANG)


def test_a_line_is_said_for_each_tenth() -> None:
    said: list[str] = []
    tell = by_lines(20, said.append)
    for done in range(1, 21):
        tell(done, "f")
    assert [line.split(", ")[1].split(" (")[0] for line in said] == [f"{done} of 20 functions" for done in range(0, 21, 2)]


def test_what_a_function_calls_is_what_its_source_names_but_not_the_fields_of_records() -> None:
    sends = warm._callees(messages.send.py_func)  # it reads a field that is called as it is itself
    assert messages.worker_point in sends and messages.send not in sends
    assert {fair.enqueue, invoke.set_limits} <= set(warm._callees(invoke._wait.py_func))  # one of them is module.function


def test_what_the_cache_has_is_not_missing(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    first, whole, left = done.stdout.splitlines()
    assert first.endswith("True") and "now_ns" not in first  # it is inlined
    assert whole == "True"
    assert "read_ticks" not in left


def test_a_field_that_is_called_like_a_function_is_no_call_of_it() -> None:
    assert warm._callees(calls) == [send]
    assert warm._callees(reads) == []

"""A command that is interrupted: once, in order, and not within what has to be done whole."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import llvmlite.binding as llvm
import pytest

from splinter.cli import start
from splinter.interrupts import interrupt, interruptible, uninterrupted
from splinter.server.supervisor.signals import Signals, StoppedError
from tests.support.waiting import wait_for

TRIES_SECONDS = 600
INTERRUPTING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", INTERRUPTING)
def test_an_interrupt_waits_for_the_end_of_what_is_not_interrupted(number: signal.Signals) -> None:
    done = []
    with interruptible(), pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(number)
                done.append("inner")
            done.append("outer")
        done.append("after")
    assert done == ["inner", "outer"]


def test_a_program_that_nohup_started_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(), uninterrupted():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reason_waits_as_well() -> None:
    reasons: dict[int, str] = {signal.SIGALRM: "took too long"}
    with interruptible(reasons), pytest.raises(KeyboardInterrupt, match="took too long"), uninterrupted():
        signal.raise_signal(signal.SIGALRM)


def test_an_error_in_what_is_not_interrupted_is_told_with_the_interrupt() -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt) as caught, uninterrupted():
        signal.raise_signal(signal.SIGTERM)
        raise OSError("no luck")
    assert isinstance(caught.value.__context__, OSError)


def test_handlers_are_as_before() -> None:
    kept = {number: signal.getsignal(number) for number in INTERRUPTING}
    before = signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL
    try:
        for number, handler in zip(INTERRUPTING, before, strict=True):
            signal.signal(number, handler)
        with uninterrupted():
            assert signal.getsignal(signal.SIGINT) != before[0]
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # the kernel's action stays the kernel's
        assert tuple(signal.getsignal(number) for number in INTERRUPTING) == before
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_thread_is_never_interrupted() -> None:
    seen = []

    def run() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


# --- within libraries ---------------------------------------------------------------------------------------------------


@contextmanager
def _handler(number: int, handler: Callable[..., object]) -> Generator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def of_python() -> Generator[None]:
    """What a command does at Ctrl-C."""
    with _handler(signal.SIGINT, interrupt), pytest.raises(KeyboardInterrupt):
        yield


@contextmanager
def of_a_command() -> Generator[None]:
    """What a command does at SIGTERM."""
    with _handler(signal.SIGTERM, start._end), pytest.raises(SystemExit):
        yield


@contextmanager
def of_a_measurement() -> Generator[None]:
    with pytest.raises(KeyboardInterrupt), interruptible():
        yield


@contextmanager
def of_a_server() -> Generator[None]:
    """What a server does that starts."""
    selector = selectors.DefaultSelector()
    signals = Signals(selector)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    signals.catch()
    try:
        with pytest.raises(StoppedError), signals.interruptible():
            yield
    finally:
        signals.close()
        selector.close()
        for number, handler in before.items():
            signal.signal(number, handler)


INTERRUPTIONS = [
    (of_python, signal.SIGINT),
    (of_a_command, signal.SIGTERM),
    (of_a_measurement, signal.SIGTERM),
    (of_a_server, signal.SIGTERM),
]


@pytest.mark.parametrize(("is_interrupted", "number"), INTERRUPTIONS)
def test_code_that_is_loaded_is_not_interrupted(
    is_interrupted: Callable[[], Generator[None]], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = "define i32 @seven() { ret i32 7 }"
    objects: list[bytes] = []
    signalled: list[str] = []

    def made(_: object, code: bytes) -> None:
        signal.raise_signal(number)
        signalled.append("made")
        objects.append(code)

    def asked(_: object) -> bytes | None:
        signal.raise_signal(number)
        signalled.append("asked")
        return objects[0] if objects else None

    for _ in range(2):  # it is compiled, then it is loaded
        machine = llvm.Target.from_default_triple().create_target_machine()
        with is_interrupted():
            engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
            engine.set_object_cache(made, asked)
            engine.finalize_object()
            assert engine.get_function_address("seven")
            wait_for(lambda: os.getpid() < 0, 5, "the interruption")
    assert signalled == ["asked", "made", "asked"]
    assert not dropped


@pytest.mark.parametrize("what", ["code", "devices"])
def test_what_was_interrupted_can_be_done_again(what: str) -> None:
    """At a third of all places of the library. At some, an exception had the process die later, or told what was undone."""
    command = [sys.executable, "-m", "tests.support.interrupted", what, "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TRIES_SECONDS)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["places"] > 50
    assert not report["failed"], "\n".join(report["failed"])

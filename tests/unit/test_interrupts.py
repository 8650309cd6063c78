"""A command that is interrupted: once, in order, and not within what has to be done whole."""

from __future__ import annotations

import signal
import threading

import pytest

from splinter.interrupts import interruptible, uninterrupted

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

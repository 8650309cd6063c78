"""Which error ends a command with which number; scripts know the numbers."""

from __future__ import annotations

import errno
import re
import signal
from pathlib import Path

import pytest

from splinter import errors
from splinter.cli import start
from splinter.cli.exit_status import ExitStatus, status_of
from splinter.errors import CompileError, SplinterError, Status, error_for
from splinter.server.supervisor.ports import cannot

ROOT = Path(__file__).resolve().parents[3]
NUMBERS = {
    "DONE": 0, "FAILED": 1, "USAGE": 2, "NOT_FOUND": 3, "UNREACHABLE": 4, "DENIED": 5, "TIMED_OUT": 6, "IN_USE": 7,
    "NOT_PERMITTED": 8, "CONFIGURATION": 9, "DATA_FOLDER": 10, "REFUSED": 11, "UNAVAILABLE": 12, "DUMP": 13, "DEFECT": 70,
}  # fmt: skip
OF_KINDS = [
    (errors.PermissionDeniedError("no", "permission_denied"), ExitStatus.DENIED),
    (errors.DumpError("no", 1), ExitStatus.DUMP),
    (errors.WrongTokenError("no"), ExitStatus.DENIED),
    (errors.TenantRemovedError("no"), ExitStatus.DENIED),
    (errors.UnknownTenantError("no"), ExitStatus.NOT_FOUND),
    (errors.NoSuchExtensionError("no"), ExitStatus.NOT_FOUND),
    (errors.UnreachableError("no"), ExitStatus.UNREACHABLE),
    (errors.ControlConnectionError("no"), ExitStatus.UNREACHABLE),
    (errors.NoServerError("no"), ExitStatus.UNREACHABLE),
    (errors.RequestTimeoutError("no"), ExitStatus.TIMED_OUT),
    (errors.RateLimitedError("no"), ExitStatus.TIMED_OUT),
    (errors.PathError("no"), ExitStatus.TIMED_OUT),
    (errors.ControlTimeoutError("no"), ExitStatus.TIMED_OUT),
    (errors.InUseError("no"), ExitStatus.IN_USE),
    (errors.NotPermittedError("no"), ExitStatus.NOT_PERMITTED),
    (PermissionError(errno.EACCES, "no"), ExitStatus.NOT_PERMITTED),
    (errors.TransportNotPermittedError("no"), ExitStatus.NOT_PERMITTED),
    (errors.TransportUnavailableError("no"), ExitStatus.UNAVAILABLE),
    (errors.ConfigurationError("no"), ExitStatus.CONFIGURATION),
    (errors.QuotaExceededError(), ExitStatus.REFUSED),
    (errors.ControlError("no"), ExitStatus.REFUSED),
    (errors.ServerError("no"), ExitStatus.FAILED),
    (CompileError([], "no"), ExitStatus.FAILED),
    (OSError(errno.ENOSPC, "no"), ExitStatus.FAILED),
    (MemoryError(), ExitStatus.FAILED),
    (ZeroDivisionError(), ExitStatus.DEFECT),
]


def test_the_numbers_stay() -> None:
    assert {each.name: each.value for each in ExitStatus} == NUMBERS
    assert all(each.text for each in ExitStatus)


@pytest.mark.parametrize(("error", "status"), OF_KINDS, ids=lambda value: type(value).__name__)
def test_each_kind_has_its_number(error: BaseException, status: ExitStatus) -> None:
    assert status_of(error) == status


def test_every_exception_of_splinter_has_a_number_that_is_no_defect() -> None:
    for status in Status:
        if status is not Status.OK:
            assert status_of(error_for(status)) in (ExitStatus.REFUSED, ExitStatus.NOT_FOUND)
    assert status_of(SplinterError("no")) == ExitStatus.FAILED


def test_an_interrupt_is_told_as_shells_have_it() -> None:
    assert status_of(KeyboardInterrupt()) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EADDRINUSE, ExitStatus.IN_USE),
        (errno.EADDRNOTAVAIL, ExitStatus.IN_USE),
        (errno.EACCES, ExitStatus.NOT_PERMITTED),
        (errno.ENOBUFS, ExitStatus.FAILED),
    ],
)
def test_an_address_that_cannot_be_had_is_told_by_its_reason(number: int, status: ExitStatus) -> None:
    assert status_of(cannot("listen", OSError(number, "no"))) == status


def test_what_runs_before_the_table_can_be_loaded_agrees_with_it() -> None:
    assert start._FAILED == ExitStatus.FAILED


def test_commands_name_no_number_of_their_own() -> None:
    for path in (ROOT / "splinter" / "cli").glob("*.py"):
        assert not re.search(r"(?<!_)[Ee]xit\(\d+\)", path.read_text()), path

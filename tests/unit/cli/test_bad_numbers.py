"""Each number on the command line, at and beyond its ends: never a defect, and never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from splinter.cli.exit_status import ExitStatus
from splinter.cli.main import app
from tests.support.commands import CliRunner

pytestmark = pytest.mark.usefixtures("alone")

EXPECTED = (ExitStatus.FAILED, ExitStatus.USAGE, ExitStatus.UNREACHABLE, ExitStatus.CONFIGURATION)
NUMBERS = ["x", "-1", "1.5", "1" + "0" * 40, "", os.fsdecode(b"\xff\xfe"), "nan", "0", "-0.5", "inf", "-inf", "1e300", "1e-300"]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[list[str], list[Any]]]:
    """Each command of the program with its parameters."""
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))
    if not hasattr(command, "commands"):
        yield list(path), command.params


def numeric() -> Iterator[Any]:
    """Each place for a number in a command line that is complete but for it: what stands before it and after it."""
    for path, parameters in commands(typer.main.get_command(app)):
        names = {each.name for each in parameters}
        elsewhere = ["--address", "127.0.0.1:1"] if "address" in names else []
        is_a_tenants = {"address", "token", "tenant"} <= names and path[0] not in ("tenant", "restore")
        elsewhere += ["--token", "1"] if is_a_tenants else []
        for place in parameters:
            if place.type_descriptor.annotation in (int, float):
                before = path + [each for other in parameters if other is not place for each in complete(other)]
                option = place.opts[:1] if place.param_type_name == "option" else []
                is_last = not option and place is [each for each in parameters if each.param_type_name == "argument"][-1]
                if option or is_last:
                    yield pytest.param([*before, *elsewhere, *option], id=" ".join([*path, place.name]))


def complete(parameter: Any) -> list[str]:
    """What a command line has of a parameter that must be given."""
    if not parameter.required:
        return []
    return [*(parameter.opts[:1] if parameter.param_type_name == "option" else []), "1"]


@pytest.mark.parametrize("number", NUMBERS, ids=ascii)
@pytest.mark.parametrize("line", list(numeric()))
def test_a_number_that_is_none(line: list[str], number: str) -> None:
    """Whatever number stands in whichever place. Those that may be there find no server."""
    if line[0] == "serve" and number == "0":  # a server may have that, and would begin
        number = "00x"
    result = CliRunner().invoke(app, [*line, number])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in EXPECTED, result.output

"""What a command changed is told on standard error when standard output takes nothing: full, closed, left, or never emptied."""

from __future__ import annotations

import ast
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import splinter.cli
from splinter.cli.told import spans
from splinter.errors import Status
from tests.support.control_responder import ControlResponder
from tests.support.pipes import full_pipe
from tests.support.waiting import wait_for
from tests.unit.client.conftest import Responder

Responders = tuple[Responder, ControlResponder]
OF_TENANT = ["-t", "7", "--token", "1122334455667788"]
IDS = [3, *range(9, 16009)]
SIGNATURE = {"name": "f", "parameters": [], "result": "bytes"}
EXTENSION = {
    "name": "f", "signature": SIGNATURE, "version": 1, "code_bytes": 2, "frame_bytes": 3, "invocations": 4, "errors": 5,
    "yields": 6, "cpu_us": 7, "place": "worker", "worker_reason": "", "in_kernel": 0, "kills": 0, "quarantined": False,
}  # fmt: skip


def tenants(ids: list[int]) -> dict[str, Any]:
    return {"tenants": [{"tenant": one, "token": 1 << 63 | one, "home": 0} for one in ids], "ids": ids, "next": None}


ANSWERS: dict[str, dict[str, Any]] = {
    "tenant.rotate": tenants([7]),
    "tenant.list": tenants([7]),
    "extension.install": {"extensions": [EXTENSION, {**EXTENSION, "name": "g"}]},
    "extension.signature": {"signature": SIGNATURE, "version": 1},
}
# What is asked for, whether its result must be told, and what is said of it.
COMMANDS: dict[str, tuple[list[str], bool, str]] = {
    "one tenant": (["tenant", "create"], True, "tenant 3 was created; 'splinter tenant token 3' shows its token"),
    "tenants": (
        ["tenant", "create", "--count", "16001"], True,
        "tenants 3, 9 … 16008 were created; 'splinter tenant list --tokens' shows their tokens",
    ),
    "tenants as JSON": (["tenant", "create", "--count", "3", "--json"], True, "tenants 3, 9 … 10 were created"),
    "rotate": (
        ["tenant", "rotate", "7", "--at-once"], True,
        "the token of tenant 7 was changed; 'splinter tenant token 7' shows the new one",
    ),
    "install": (["install", "tao", *OF_TENANT], False, "installed all the same: f, g"),
    "invoke": (["invoke", "f", *OF_TENANT], False, "f was run, and what it wrote stands"),
}  # fmt: skip
each_command = pytest.mark.parametrize(("command", "must_be_told", "done"), COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def on_change(responders: Responders) -> list[Callable[[], object]]:
    """What is called when the server does what a command asks for, before it answers."""
    called: list[Callable[[], object]] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] not in ("hello", "extension.signature"):
            for one in called:
                one()
        if request["op"] == "tenant.create":
            return {"ok": True, **tenants(IDS[: request.get("count", 1)])}
        return {"ok": True, **ANSWERS.get(request["op"], {})}

    def invoke(name: bytes, packed: bytes, hash: int) -> tuple[Status, bytes]:
        for one in called:
            one()
        return Status.OK, b"result"

    responders[0].invoke, responders[1].answer = invoke, answer
    return called


def begin(command: list[str], **options: Any) -> subprocess.Popen[str]:
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-m", "splinter", *command], **options)


def said(process: subprocess.Popen[str], status: int = 1) -> str:
    """The one line on standard error of a command that failed."""
    _, text = process.communicate(timeout=60)
    assert process.returncode == status, text
    assert text.startswith("splinter: ") and text.count("\n") == 1, text
    return text


@each_command
def test_on_a_full_disk(tmp_path: Path, on_change: list[Any], command: list[str], must_be_told: bool, done: str) -> None:
    """That is seen only when something is written."""

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    with (tmp_path / "file").open("wb") as file:
        text = said(begin(command, stdout=file, preexec_fn=fill_disk))
    assert text.startswith(f"splinter: standard output: File too large; {done}")


@each_command
def test_on_a_device_that_is_full(
    responders: Responders, on_change: list[Any], command: list[str], must_be_told: bool, done: str
) -> None:
    """Some kernels say so of a write of nothing."""
    with Path("/dev/full").open("wb") as full:
        text = said(begin(command, stdout=full))
    is_done = any(request["op"] != "extension.signature" for request in responders[1].requests) or command[0] == "invoke"
    assert (done if is_done else "nothing was done") in text
    assert must_be_told or is_done


@each_command
def test_when_the_reader_goes_meanwhile(on_change: list[Any], command: list[str], must_be_told: bool, done: str) -> None:
    reading, writing = os.pipe()
    on_change.append(lambda: os.close(reading) if on_change.pop() else None)
    process = begin(command, stdout=writing)
    os.close(writing)
    assert said(process).startswith(f"splinter: standard output: Broken pipe; {done}")


def leave(pipe: tuple[int, int]) -> int:
    os.close(pipe[0])
    return pipe[1]


@each_command
@pytest.mark.parametrize("output", ["left", "closed"])
def test_nobody_is_there_to_begin_with(
    responders: Responders, on_change: list[Any], output: str, command: list[str], must_be_told: bool, done: str
) -> None:
    """Then nothing is done whose result stands nowhere else."""
    stdout = leave(os.pipe())
    process = begin(command, stdout=stdout, preexec_fn=(lambda: os.close(1)) if output == "closed" else None)
    os.close(stdout)
    text, asked = said(process), [request["op"] for request in responders[1].requests]
    if must_be_told:
        assert "nothing was done" in text
        assert not asked
    else:
        assert text.startswith("splinter: standard output: ") and done in text


@each_command
def test_interrupted_while_nobody_reads(on_change: list[Any], command: list[str], must_be_told: bool, done: str) -> None:
    reading, writing = full_pipe()
    changed: list[bool] = []
    on_change.append(lambda: changed.append(True))
    process = begin(command, stdout=writing, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    os.close(writing)
    wait_for(lambda: changed, 30, "the change")
    call = Path(f"/proc/{process.pid}/syscall")  # its number and arguments while it waits: the first is the descriptor
    wait_for(lambda: call.read_text().split()[1:2] == ["0x1"], 30, "a write that waits")
    process.send_signal(signal.SIGINT)
    assert said(process, 128 + signal.SIGINT).startswith(f"splinter: interrupted; {done}")
    os.close(reading)


def test_what_can_be_told_is_told(on_change: list[Any]) -> None:
    process = begin(["tenant", "create", "--count", "3"], stdout=subprocess.PIPE)
    told, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")
    assert [line.split()[0] for line in told.splitlines()] == ["3", "9", "10"]


@pytest.mark.parametrize("command", [["tenant", "list"], ["tenant", "list", "--json"], ["tenant", "token", "7"], ["get", "k"]])
@pytest.mark.parametrize("count", [1, 1000])
def test_what_cannot_be_shown_is_said_to_be_standard_output(
    responders: Responders, on_change: list[Any], command: list[str], count: int
) -> None:
    """Also of more than a buffer holds."""
    responders[1].answer = lambda request: {"ok": True, **tenants(list(range(1, count + 1)))}
    responders[0].objects[0, b"k"] = (2, b"x" * 100 * count)
    with Path("/dev/full").open("wb") as full:
        text = said(begin([*command, *(OF_TENANT if command[0] == "get" else [])], stdout=full))
    assert text == "splinter: standard output: No space left on device\n"


def test_numbers_are_told_as_spans() -> None:
    assert spans([5]) == "5"
    assert spans([4, 2, 1, 9]) == "1 … 2, 4, 9"
    assert spans(range(0, 40, 2)) == "0, 2, 4, 6, 8, 10, 12, 14 and 12 more"


CHANGING = {
    "create_tenant", "create_tenants", "limit_tenant", "move_tenant", "rotate_token", "finish_rotation", "remove_tenant",
    "release_extension", "install", "install_all", "uninstall", "invoke", "put", "delete", "up", "down",
}  # fmt: skip


def calls(node: ast.AST) -> Iterator[str]:
    """What is called in there, by name."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            yield one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")


def test_every_command_that_changes_something_prints_within_telling() -> None:
    met = set()
    for path in Path(splinter.cli.__file__).parent.glob("*.py"):
        for command in ast.walk(ast.parse(path.read_text())):
            if not isinstance(command, ast.FunctionDef) or not CHANGING & set(calls(command)):
                continue
            blocks = [node for node in ast.walk(command) if isinstance(node, ast.With)]
            told = sum(list(calls(block)).count("say") for block in blocks if "telling" in calls(block.items[0]))
            found = list(calls(command))
            assert told == found.count("say") and "print" not in found, f"{path.name}: {command.name}"
            met.add(command.name) if told else None
    assert met == {"create", "rotate", "install", "invoke", "up", "down"}

"""Foreign text in the operator's terminal: by every command, what cannot be seen is escaped, and nothing is markup."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import splinter.cli
from splinter.cli.main import app
from splinter.errors import Status
from splinter.ext.front.names import is_name
from splinter.visible import visible, visible_bytes, visible_lines
from splinter.wire import SCAN, SCAN_END, Opcode
from tests.support.commands import CliRunner
from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import Responder

ESCAPES = "\x1b[31m\x1b]8;;http://evil\x07click\x1b]8;;\x07\x9b31m\x9d0;title\x9c\x85\x08\x7f\x00"
HOSTILE = f"[/nope][link=http://evil]y[/link]:skull:{ESCAPES}\u202egnp.exe\u2066\u200b\u2028\r\nsplinter: all is well"
LISTED = bytes([len(HOSTILE.encode())]) + HOSTILE.encode()  # a key
SIGNATURE = {"name": HOSTILE, "parameters": [[HOSTILE, "u64"]], "result": "u64"}
EXTENSION = {
    "name": HOSTILE, "signature": SIGNATURE, "version": 1, "code_bytes": 2, "frame_bytes": 3, "invocations": 4, "errors": 5,
    "yields": 6, "cpu_us": 7, "place": "worker", "worker_reason": HOSTILE, "in_kernel": 0, "kills": 3, "quarantined": True,
}  # fmt: skip
TENANT = {"tenant": 7, "token": 0x1122334455667788, "home": 0}
DIAGNOSTIC = {"line": 1, "column": 1, "rule": HOSTILE, "message": HOSTILE, "hint": HOSTILE}
_worker = {"requests": {HOSTILE: 1}, "busy_ms": 1, "core": 0, "state": HOSTILE, "tasks_live": 0}
_tenant_use = {"tenant": 7, "core_ms": [1], "task_ms": 1, "requests": 1, "busy": 0}
_extension_use = {"tenant": 7, "name": HOSTILE, "cpu_ms": 1, "invocations": 1, "errors": 0}
STATS = {
    "transport": HOSTILE, "mode": HOSTILE, "workers": [_worker], "tenants": [_tenant_use], "extensions": [_extension_use],
    HOSTILE: {HOSTILE: HOSTILE},
}  # fmt: skip
EVENT = {"number": 1, "time_ns": 1, "tenant": 7, "level": HOSTILE, "kind": HOSTILE, "text": HOSTILE, "fields": {}}
ANSWERS: dict[str, dict[str, Any]] = {
    "tenant.create": {"tenants": [TENANT], "ids": [7]},
    "tenant.list": {"tenants": [TENANT], "next": None},
    "tenant.limit": {"tenants": [TENANT]},
    "tenant.rotate": {"tenants": [TENANT]},
    "extension.install": {"extensions": [EXTENSION]},
    "extension.list": {"extensions": [EXTENSION]},
    "extension.history": {"events": [{"name": HOSTILE, "version": 1, "what": HOSTILE, "at": 1.5}]},
    "extension.log": {"entries": [{"time_ns": 1, "text": HOSTILE.encode() + b"\xff\x9b\x80"}]},
    "extension.signature": {"signature": {"name": "f", "parameters": [], "result": "bytes"}, "version": 1},
    "stats": {"stats": STATS},
    "events": {"events": [EVENT], "next": 1, "newest": 1, "missed": 1, "server": 1},
}
GOOD = "@extension\ndef f(db: Store) -> u64:\n    return 1\n"
OF_TENANT = ["-t", "7", "--token", "1122334455667788"]
COMMANDS = {
    "tenant create": ["tenant", "create"],
    "tenant list": ["tenant", "list", "--tokens"],
    "tenant token": ["tenant", "token", "7"],
    "tenant rotate": ["tenant", "rotate", "7"],
    "tenant rotate --finish": ["tenant", "rotate", "7", "--finish"],
    "tenant limit": ["tenant", "limit", "7", "--quota", "1MiB"],
    "tenant move": ["tenant", "move", "7", "0"],
    "tenant remove": ["tenant", "remove", "7"],
    "release": ["release", "f", "-t", "7"],
    "install": ["install", "FILE", *OF_TENANT],
    "install --name": ["install", "FILE", "--name", "f", *OF_TENANT],
    "uninstall": ["uninstall", "f", *OF_TENANT],
    "extensions": ["extensions", *OF_TENANT],
    "extensions --history": ["extensions", "--history", *OF_TENANT],
    "log": ["log", *OF_TENANT],
    "invoke": ["invoke", "f", *OF_TENANT],
    "stats": ["stats"],
    "events": ["events"],
    "top": ["top", "--count", "1", "--interval", "0.1"],
    "put": ["put", "k", "v", *OF_TENANT],
    "delete": ["delete", "k", *OF_TENANT],
    "get": ["get", "k", *OF_TENANT],
    "scan": ["scan", *OF_TENANT],
}


@pytest.fixture
def server(
    responders: tuple[Responder, ControlResponder], monkeypatch: pytest.MonkeyPatch
) -> tuple[Responder, ControlResponder]:
    requests, control = responders
    monkeypatch.setenv("COLUMNS", "2000")
    control.answer = lambda request: {"ok": True, **ANSWERS.get(request["op"], {})}
    requests.invoke = lambda name, packed, hash: (Status.OK, HOSTILE.encode())
    requests.objects[0, b"k"] = (2, HOSTILE.encode())
    requests.answers[Opcode.SCAN] = lambda header, key, value: (Status.OK, SCAN.struct.pack(SCAN_END, 1) + LISTED)
    return responders


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source.py"
    path.write_text(GOOD)
    return str(path)


def run(command: list[str], source: str) -> Result:
    result = CliRunner().invoke(app, [source if word == "FILE" else word for word in command])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def assert_harmless(output: str) -> None:
    hidden = {c for c in output if not c.isprintable() and c != "\n"}
    assert not hidden, (hidden, output)
    assert not [line for line in output.splitlines() if line.startswith("splinter: all is well")]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_a_command_shows_is_harmless(server, source, command):
    result = run(command, source)
    assert result.exit_code == 0, result.output
    if command[0] == "get":
        assert result.stdout_bytes == HOSTILE.encode()  # a pipe gets what was stored
        return
    assert_harmless(result.output)
    if command[0] in ("extensions", "stats", "top"):
        assert "[/nope]" in result.output and "y[/link]:skull:" in result.output, "text, not markup"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("code", ["permission_denied", "internal", "compile_error", "no_extension", HOSTILE])
def test_what_a_server_refuses_with_is_harmless(server, source, command, code):
    requests, control = server
    control.answer = lambda request: {"ok": False, "error": code, "message": HOSTILE, "diagnostics": [DIAGNOSTIC]}
    requests.refuse_with = lambda header: Status.QUARANTINED
    is_of_worker = command[0] in ("put", "get", "delete", "scan")
    if is_of_worker:
        requests.on_reply = lambda header, packet: [packet.replace(b"it again to release it", HOSTILE.encode()[:22])]
    result = run(command, source)
    of_control = {"permission_denied": 5, "compile_error": 1, "no_extension": 3}.get(code, 11)
    assert result.exit_code == (11 if is_of_worker else of_control)
    assert_harmless(result.output.replace("\nsplinter: all is well", "") if code == "compile_error" else result.output)


@pytest.mark.parametrize("command", ["extensions", "stats", "log", "tenant list"])
def test_json_is_ascii(server, source, command):
    words = COMMANDS[command]
    if "--json" not in (words := [*words, "--json"]) or command == "log":
        return
    output = run(words, source).output
    assert output.isascii()
    json.loads(output)
    assert_harmless(output)


def test_findings_of_a_hostile_source_are_harmless(tmp_path):
    path = tmp_path / ("name" + HOSTILE.replace("/", "").replace("\x00", "") + ".py")
    text = GOOD.replace("return 1", "return '" + ESCAPES.replace("\x00", "") + "\u202e'  # [/nope]")
    path.write_text(text)
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1 and "[/nope]" in result.output
    assert_harmless(result.output.replace("\nsplinter: all is well", ""))  # the file's own name, which the user gave


def test_arguments_that_are_shown_are_harmless(server):
    for command in (["get", HOSTILE, *OF_TENANT], ["stats", "--address", HOSTILE], ["check", HOSTILE.replace("\x00", "")]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code != 0
        assert_harmless(result.output.replace("\nsplinter: all is well", ""))


SHOWN_IN_A_TERMINAL = ["extensions", "scan", "log", "stats", "top", "get", "invoke", "install"]


@pytest.mark.parametrize("name", SHOWN_IN_A_TERMINAL)
def test_a_terminal_gets_no_foreign_sequences(server, source, name):
    """The program's own colours and cursor movements are all that is not plain text."""
    words = [source if word == "FILE" else word for word in COMMANDS[name]]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "2000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "splinter", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                output += part
        except OSError:  # the end of a pseudo-terminal
            pass
    assert process.wait() == 0, output
    text = output.decode().replace("\x1b]22;default\x07", "")  # the live view: the pointer's shape
    assert "\x1b[31m" not in text and "\x1b]" not in text
    plain = re.sub(r"\x1b\[[0-9;?<>]*\$?[A-Za-z]", "", text).replace("\r", "")
    assert_harmless(plain.replace("\nsplinter: all is well", "") if name == "get" else plain)
    assert "\\x1b" in plain or name == "invoke"  # which shows bytes that are not plain text in hexadecimal


def test_every_output_goes_through_the_terminal():
    """A new command that prints by itself is found here."""
    raw: list[str] = []
    for path in sorted(Path(splinter.cli.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("print", "Console", "typer.echo", "sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write"):
                raw.append(f"{path.name}: {name}")
    # 'get' to a pipe, and last words when not even the libraries are there.
    assert raw == ["dump.py: sys.stdout.buffer.write", "objects.py: sys.stdout.buffer.write", "start.py: print"]


def test_what_cannot_be_seen_is_escaped():
    assert visible("plain ✓ text") == "plain ✓ text"
    assert visible("a\x1b[m\n\t\x9b\u202e\u200b\ud800") == "a\\x1b[m\\n\\t\\x9b\\u202e\\u200b\\ud800"
    assert visible_lines("a\n\tb\x1b\r") == "a\n\tb\\x1b\\r"
    assert visible_bytes(b"a\xff\x80\xc3\xa9\x1b") == "a\\xff\\x80é\\x1b"


@pytest.mark.parametrize("name", ["", "[/nope]", "a b", "a-b", "1a", "a\u200b", "ａ", "a\n", "\x1b", "a.b", "a;b", HOSTILE])
def test_what_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize("name", ["f", "_f", "größe", "f1", "while_", "名"])
def test_what_is_a_name(name):
    assert is_name(name)

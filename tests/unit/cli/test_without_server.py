"""Commands that need no server, and what the others say when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import splinter
from splinter.cli.main import app
from splinter.testing.process import free_port
from tests.support.commands import CliRunner

COMMANDS = [
    ["serve"], ["lab", "up"], ["lab", "status"], ["lab", "down"], ["tenant", "create"], ["tenant", "list"],
    ["tenant", "remove"], ["get"], ["put"], ["delete"], ["scan"], ["install"], ["uninstall"], ["extensions"], ["check"],
    ["invoke"], ["stats"], ["top"], ["events"], ["purge"],
]  # fmt: skip
NEED_A_SERVER = [
    ["tenant", "create"], ["tenant", "list"], ["tenant", "remove", "7"], ["get", "k", "-t", "7"], ["scan", "-t", "7"],
    ["put", "k", "v", "-t", "7"], ["delete", "k", "-t", "7"], ["uninstall", "f", "-t", "7"], ["extensions", "-t", "7"],
    ["invoke", "f", "1", "-t", "7"], ["stats"], ["top"], ["events"],
    ["events", "--follow"],
]  # fmt: skip
GOOD = """
from splinter.ext import extension, Store, u64

@extension
def twice(db: Store, x: u64) -> u64:
    return x + x
"""


def run(*arguments: str, **options):
    return CliRunner().invoke(app, list(arguments), **options)


@pytest.fixture(autouse=True)
def empty_run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLINTER_RUN_DIR", str(tmp_path / "run"))
    for name in ("SPLINTER_INSTANCE", "SPLINTER_ADDRESS", "SPLINTER_TOKEN", "SPLINTER_TENANT", "SPLINTER_CREDENTIAL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Usage: splinter {' '.join(command)}" in result.output


def test_the_program_names_its_commands_and_version():
    result = run("--help")
    for command in COMMANDS:
        assert command[0] in result.output
    assert run("--version").output == f"splinter {splinter.__version__}\n"


@pytest.mark.parametrize("module", ["splinter", "splinter.cli.main"])
def test_python_m_is_the_same_program(module):
    command = [sys.executable, "-m", module, "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == run("--version").output


def test_the_client_costs_no_compiler():
    """Import time is the client's latency: nothing of the server's machinery may come along."""
    program = "import sys, splinter.client, splinter.client.admin, splinter.ext.signature; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numba", "llvmlite", "pyroute2", "typer", "rich"} & set(loaded)


@pytest.mark.parametrize("command", NEED_A_SERVER, ids=" ".join)
def test_without_a_server_the_message_says_how_to_start_one(command):
    result = run(*command, "--instance", "nobody")
    assert result.exit_code == 4
    assert "no server of instance 'nobody' runs here: start one with 'splinter serve'" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "k", "-t", "7", "--address", "127.0.0.1:x"], "write IP or IP:PORT"),
        (["get", "k", "-t", "7", "--address", "127.0.0.1"], "--token"),
        (["get", "k", "-t", "7", "--address", "127.0.0.1", "--token", "xyz"], "hexadecimal"),
        (["get", "k", "-t", "7", "--address", "127.0.0.1", "--token", "0"], "hexadecimal"),
        (["get", "k", "--key", "int", "-t", "7", "--address", "127.0.0.1", "--token", "1"], "'k' is not an integer"),
        (["get", "k", "--key", "hex", "-t", "7", "--address", "127.0.0.1", "--token", "1"], "'k' is not hexadecimal"),
        (["put", "k", "v", "--file", "f", "-t", "7", "--address", "127.0.0.1", "--token", "1"], "not both"),
        (["put", "k", "--file", "/no/file", "-t", "7", "--address", "127.0.0.1", "--token", "1"], "No such file"),
        (["put", "k", "xyz", "--hex", "-t", "7", "--address", "127.0.0.1", "--token", "1"], "not hexadecimal"),
        (["stats", "--address", "127.0.0.1"], "SPLINTER_CREDENTIAL"),
        (["install", "/no/file.py", "-t", "7"], "No such file"),
        (["check", "/no/file.py"], "No such file"),
        (["serve", "--transport", "carrier-pigeon"], "carrier-pigeon"),
        (["serve", "--memory", "lots"], "not a size"),
        (["serve", "--config", "/no/config.toml"], "No such file"),
        (["lab", "status", "--name", "no-such-lab"], "no lab of this name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_a_sentence_and_an_exit_status(arguments, message):
    result = run(*arguments)
    assert result.exit_code == (9 if arguments[0] == "serve" else 1), result.output
    assert message in result.stderr
    assert result.stderr.startswith("splinter: ")
    assert "Traceback" not in result.output


def test_nobody_listening_is_told(tmp_path):
    where = f"127.0.0.1:{free_port()}"
    result = run("get", "k", "-t", "7", "--address", where, "--token", "1")
    assert (result.exit_code, "nothing listens" in result.stderr) == (4, True)
    result = run("stats", "--address", where, env={"SPLINTER_CREDENTIAL": "x"})
    assert (result.exit_code, "cannot reach the control plane" in result.stderr) == (4, True)


def test_create_takes_an_id_or_a_count():
    assert run("tenant", "create", "--tenant", "7", "--count", "2").exit_code != 0


def test_check_accepts_and_shows_the_signature(tmp_path):
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    result = run("check", str(file))
    assert result.exit_code == 0
    assert "twice(x: u64) -> u64" in result.stdout


def test_check_refuses_with_file_line_and_caret(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(GOOD.replace("return x + x", "y = open(x)\n    return z"))
    result = run("check", str(file))
    assert result.exit_code == 1
    assert f"{file}:6:" in result.stderr
    assert f"{file}:7:" in result.stderr
    assert "^" in result.stderr
    assert "Traceback" not in result.output


def test_check_refuses_what_is_not_text(tmp_path):
    file = tmp_path / "binary.py"
    file.write_bytes(b"\xff\xfe\x00")
    result = run("check", str(file))
    assert (result.exit_code, "not UTF-8" in result.stderr) == (1, True)


def test_a_closed_pipe_is_no_traceback(tmp_path):
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-u", "-m", "splinter", "check", str(file)]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_purge_of_what_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPLINTER_BPFFS", str(tmp_path))
    result = run("purge", "--instance", "nosuch")
    assert (result.exit_code, result.output) == (0, "instance nosuch: nothing is left of it\n")
    assert run("purge", "--all").output == "nothing is left of any instance\n"
    (tmp_path / "run" / "left").mkdir(parents=True)
    assert run("purge", "--all").output == "instance left: removed its run folder\n"
    assert not (tmp_path / "run" / "left").exists()
    assert run("purge", "--instance", "../nosuch").exit_code == 9

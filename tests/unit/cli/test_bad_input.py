"""Each command with each kind of bad input: a status other than 0, one message that says what is wrong, no traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pyroute2
import pytest

from splinter.cli.errors import explain
from splinter.cli.main import app
from tests.support.commands import CliRunner

pytestmark = pytest.mark.usefixtures("alone")

FAILED, USAGE, UNREACHABLE, CONFIGURATION, REFUSED, UNAVAILABLE, DEFECT = 1, 2, 4, 9, 11, 12, 70
ELSEWHERE = ["--address", "127.0.0.1:1", "--token", "1"]
OF_TENANTS = (
    ["get", "k"],
    ["put", "k", "v"],
    ["delete", "k"],
    ["scan"],
    ["uninstall", "f"],
    ["extensions"],
    ["invoke", "f", "1"],
    ["log"],
)
OF_THE_ADMINISTRATOR = (
    ["tenant", "create"], ["tenant", "list"], ["tenant", "limit", "7"], ["tenant", "move", "7", "0"], ["tenant", "remove", "7"],
    ["stats"], ["top", "--count", "1"], ["release", "f", "-t", "7"],
)  # fmt: skip
OF_A_SERVER = [[*command, "-t", "7"] for command in OF_TENANTS] + list(OF_THE_ADMINISTRATOR)
NOT_UTF8 = os.fsdecode(b"\xff\xfe")
HUGE = "1" + "0" * 40
ADDRESSES = ["", "::1", "[::1]:7171", "a" * 300, "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", f"127.0.0.1:{HUGE}",
             "a b", NOT_UTF8, "127.0.0.1:-1", "http://127.0.0.1", "256.256.256.256", "no-such-host.invalid"]  # fmt: skip
SIZES = ["x", "-1", "1.5GiB", "", "1TiB", NOT_UTF8, HUGE, f"{HUGE}GiB"]


def refused(*arguments: str, status: tuple[int, ...] = (FAILED, USAGE, UNREACHABLE, CONFIGURATION)) -> str:
    """Run a command that must fail as it should; returns what it said."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in status, result.output
    assert "Traceback" not in result.output
    assert "a defect of Splinter" not in result.output, result.output
    if result.exit_code != USAGE:
        assert result.stderr.startswith("splinter: "), result.stderr
        assert result.stderr.count("splinter: ") == 1
        assert result.stdout == ""
    return result.stderr


def name_of(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)[:20].encode("unicode_escape").decode()


@pytest.mark.parametrize("address", ADDRESSES, ids=name_of)
@pytest.mark.parametrize("command", OF_A_SERVER, ids=name_of)
def test_an_address_that_is_none(command: list[str], address: str) -> None:
    token = ["--token", "1"] if "-t" in command and command[0] != "release" else []
    is_a_name = address in ("256.256.256.256", "no-such-host.invalid")  # nobody has it
    refused(*command, "--address", address, *token, status=(UNREACHABLE if is_a_name else FAILED,))


@pytest.mark.parametrize("instance", ["", "../x", NOT_UTF8, "x" * 100, "nobody"], ids=name_of)
@pytest.mark.parametrize("command", OF_A_SERVER, ids=name_of)
def test_an_instance_that_is_none(command: list[str], instance: str) -> None:
    status = UNREACHABLE if instance == "nobody" else CONFIGURATION
    assert "instance" in refused(*command, "--instance", instance, status=(status,))


@pytest.mark.parametrize("token", ["x", "", "-1", "1" * 17, NOT_UTF8, "0"], ids=name_of)
@pytest.mark.parametrize("command", OF_TENANTS, ids=name_of)
def test_a_token_that_is_none(command: list[str], token: str) -> None:
    refused(*command, "-t", "7", "--address", "127.0.0.1:1", "--token", token, status=(FAILED if token else UNREACHABLE,))


@pytest.mark.parametrize("mode", ["bogus", "", "None", NOT_UTF8, HUGE], ids=name_of)
@pytest.mark.parametrize(
    "command",
    [["tenant", "create"], ["tenant", "limit", "7"], ["serve", "--data", "data"], ["restore", "/dev/null"]],
    ids=name_of,
)
def test_a_durability_that_is_none(command: list[str], mode: str) -> None:
    """Some leave it to the server, which is not there."""
    own = {"serve": CONFIGURATION, "restore": USAGE}
    said = refused(*command, "--durability", mode, status=(own.get(command[0], UNREACHABLE),))
    assert command[0] not in own or "durability" in said


@pytest.mark.parametrize("size", SIZES, ids=name_of)
@pytest.mark.parametrize(
    "command", [["tenant", "create", "--quota"], ["tenant", "limit", "7", "--quota"], ["serve", "--memory"]], ids=name_of
)
def test_a_size_that_is_none(command: list[str], size: str) -> None:
    where = [] if command[0] == "serve" else ["--address", "127.0.0.1:1"]
    refused(*command, size, *where, status=(CONFIGURATION,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dev", "lo", "--address", "localhost"], "'localhost' is not an IPv4 address"),
        (["--transport", "xdp", "--dev", "lo", "--address", "::1"], "IPv4 only"),
        (["--address", NOT_UTF8], "not an IPv4 address"),
        (["--dev", "a/b"], "no name of a network device"),
        (["--dev", NOT_UTF8 * 9], "no name of a network device"),
        (["--transport", "xdp"], "no network device was named"),
        (["--cores", "0-"], "not a list of cores"),
        (["--cores", HUGE], "not a list of cores"),
        (["--cores", "60000"], "no such core"),
        (["--netns", "../x"], "no name of a network namespace"),
        (["--netns", "no-such-namespace"], "no network namespace"),
        (["--transport", "udp", "--netns", "no-such-namespace"], "no network namespace"),
        (["--lab", "no-such-lab"], "no network namespace"),
        (["--lab", "no/lab"], "no name"),
        (["--instance", "a b"], "instance name"),
        (["--config", "."], "Is a directory"),
        (["--config", NOT_UTF8], "No such file"),
    ],
    ids=name_of,
)  # fmt: skip
def test_a_setting_of_the_server_that_is_none(arguments: list[str], message: str) -> None:
    is_of_the_host = arguments == ["--transport", "xdp"]
    assert message in refused("serve", *arguments, status=(UNAVAILABLE,) if is_of_the_host else (CONFIGURATION,))


@pytest.mark.parametrize(
    ("content", "message"),
    [("memory = 1.5", "1.5 is not a size"), ("port = true", "a whole number"), ("[a]", "unknown setting"), ("=", "not TOML")],
)
def test_a_configuration_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(content)
    assert message in refused("serve", "--config", "c.toml", status=(CONFIGURATION,))


FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path.name),
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "nul": lambda path: path.write_bytes(b"\0" * 100),
    "huge": lambda path: (path.write_bytes(b""), os.truncate(path, 1 << 40)),
    "deep": lambda path: path.write_bytes(b"(" * 50_000),
    "name": lambda path: None,
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", [["check"], ["install", "-t", "7", *ELSEWHERE]], ids=name_of)
def test_a_source_that_is_none(tmp_path: Path, command: list[str], kind: str) -> None:
    FILES[kind](tmp_path / "file.py")
    status = UNREACHABLE if command[0] == "install" and kind in ("empty", "deep", "nul", "huge") else FAILED
    refused(*command, NOT_UTF8 if kind == "name" else "file.py", status=(status,))


# Of a value's bytes, and of the same as hexadecimal digits: what is a value is sent, to nobody.
VALUE_STATUSES = {
    "empty": (UNREACHABLE, UNREACHABLE),
    "binary": (UNREACHABLE, FAILED),
    "nul": (UNREACHABLE, FAILED),
    "deep": (UNREACHABLE, FAILED),
    "huge": (REFUSED, FAILED),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_value_that_is_none(tmp_path: Path, kind: str) -> None:
    FILES[kind](tmp_path / "file.py")
    raw, as_hex = VALUE_STATUSES.get(kind, (FAILED, FAILED))
    refused("put", "k", "-t", "7", *ELSEWHERE, "-f", "file.py", status=(raw,))
    refused("put", "k", "-t", "7", *ELSEWHERE, "--hex", "-f", "file.py", status=(as_hex,))


@pytest.mark.parametrize("key", ["", "k" * 256, "ü" * 200])
@pytest.mark.parametrize("command", [["get"], ["put", "-f", os.devnull], ["delete"]], ids=name_of)
def test_a_key_that_is_none(command: list[str], key: str) -> None:
    refused(*command, key, "-t", "7", *ELSEWHERE, status=(REFUSED,))


@pytest.mark.parametrize("form", ["text", "int", "hex"])
@pytest.mark.parametrize("command", [["get"], ["put", "-f", os.devnull], ["delete"]], ids=name_of)
def test_any_bytes_are_a_key_or_are_told(command: list[str], form: str) -> None:
    """As text whatever the shell passes on is one: nobody answers here, but it was sent."""
    status = UNREACHABLE if form == "text" else FAILED
    said = refused(*command, NOT_UTF8, "--key", form, "-t", "7", *ELSEWHERE, status=(status,))
    assert ("nothing listens" in said) == (form == "text")


@pytest.mark.parametrize("name", ["no/lab", "..", "", "x" * 300, NOT_UTF8])
@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_lab_that_is_none(command: str, name: str) -> None:
    refused("lab", command, "--name", name, status=(CONFIGURATION,))


# --- what listens is no server ------------------------------------------------------------------------------------------

REPLIES = {
    "silence and the end": b"",
    "half a length": b"\x01",
    "too long": b"\xff\xff\xff\xff",
    "half a message": b"\x40\x00\x00\x00abc",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no map": b"\x01\x00\x00\x00\x05",
    "no msgpack": b"\x01\x00\x00\x00\xc1",
    "deep msgpack": (20_000).to_bytes(4, "little") + b"\x91" * 20_000,
    "a map without what is needed": b"\x04\x00\x00\x00\x81\xa2ok\xc3"[:4] + b"",
    "an empty success": len(msgpack.packb({"ok": True})).to_bytes(4, "little") + msgpack.packb({"ok": True}),
    "wrong types": (lambda body: len(body).to_bytes(4, "little") + body)(
        msgpack.packb({"ok": True, "tenants": 5, "stats": 5, "extensions": 5, "entries": 5, "signature": 5})
    ),
    "an error without a text": (lambda body: len(body).to_bytes(4, "little") + body)(msgpack.packb({"ok": False})),
    "an error of wrong types": (lambda body: len(body).to_bytes(4, "little") + body)(
        msgpack.packb({"ok": False, "error": 5, "message": [5], "diagnostics": 5})
    ),
}


@pytest.fixture(params=REPLIES)
def impostor(request: pytest.FixtureRequest) -> Iterator[str]:
    """Something listens that answers so, whatever it is asked."""
    reply = REPLIES[request.param]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer = listener.accept()[0]
                    with peer:
                        peer.recv(1 << 16)
                        peer.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        yield "127.0.0.1:" + str(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("command", [*OF_THE_ADMINISTRATOR, ["extensions", "-t", "7"], ["log", "-t", "7"]], ids=name_of)
def test_what_answers_is_no_server(impostor: str, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--address", impostor])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    if result.exit_code:
        assert result.stderr.startswith("splinter: ")
        assert "a defect" not in result.stderr


# --- families of exceptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in sorted(errno.errorcode)),
        *(OSError(number, os.strerror(number), "/a/file") for number in (errno.EACCES, errno.ENOSPC, errno.EMFILE)),
        OSError("no number"), TimeoutError(), ConnectionResetError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal"),
        UnicodeError("label too long"), MemoryError(), RecursionError(), ModuleNotFoundError("No module named 'rich'"),
        ImportError("libpcap.so.0: cannot open"), pyroute2.NetlinkError(16, "busy"), msgpack.exceptions.ExtraData(1, b""),
        msgpack.exceptions.BufferFull(), msgpack.exceptions.OutOfData(), msgpack.exceptions.FormatError(),
        msgpack.exceptions.StackError(),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'errno', '')}",
)  # fmt: skip
def test_no_family_is_forgotten(error: Exception) -> None:
    assert "defect" not in explain(error)
    assert len(explain(error)) > 5
    assert "\n" not in explain(error)


def test_what_nobody_thought_of_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from splinter.cli import target

    def fail(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(target.instances, "read", fail)
    result = CliRunner().invoke(app, ["stats"])
    assert (result.exit_code, "ZeroDivisionError: nobody thought of it" in result.stderr) == (DEFECT, True)
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("SPLINTER_TRACEBACK", "1")
    assert "Traceback" in CliRunner().invoke(app, ["stats"]).stderr


# --- standard streams -----------------------------------------------------------------------------------------------------


def shell(line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell's line, in which ``splinter`` is this program, in a process of its own."""
    line = f'splinter() {{ {sys.executable} -m splinter "$@"; }}; {line}'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("splinter put k -t 7 --address 127.0.0.1:1 --token 1 <&-", 1, "standard input: Bad file descriptor: give the value"),
        ("splinter --version >&-", 1, "standard output: Bad file descriptor"),
        ("splinter --version >/dev/full", 1, "No space left"),
        ("splinter library tao >/dev/full", 1, "No space left"),
        ("splinter stats 2>&-", 4, ""),
        ("splinter stats 2>/dev/full", 4, ""),
        ("splinter stats <&- >&- 2>&-", 4, ""),
        ("set -o pipefail; splinter library tao | true", 1, ""),
        ("splinter get k -t 7 --address $'\\xff' --token 1", 1, "write IP or IP:PORT"),
        ("splinter $'\\xff'", 2, "No such command"),
        ("export PYTHONIOENCODING=ascii; splinter library | cat >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_streams_that_are_closed_full_or_not_read(line: str, status: int, message: str, tmp_path: Path) -> None:
    result = shell(line, tmp_path)
    assert result.returncode == status, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


def test_no_socket_gets_the_number_of_a_stream(tmp_path: Path) -> None:
    """Else what is printed would be sent to a server."""
    program = "import os; from splinter.cli import start; start._open_standard_streams(); print(os.open('/', 0))"
    line = f'{sys.executable} -c "{program}" <&- 2>&-'
    result = shell(line, tmp_path)
    assert int(result.stdout) > 2


def test_a_missing_library_is_a_sentence(tmp_path: Path) -> None:
    for library in ("rich", "typer", "msgpack"):
        (tmp_path / f"{library}.py").write_text(f"raise ImportError('No module named {library}')")
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
        command = [sys.executable, "-m", "splinter", "get", "k", "-t", "7"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert result.returncode == 1
        assert library in result.stderr
        assert "a library is missing or damaged" in result.stderr
        assert "Traceback" not in result.stderr
        (tmp_path / f"{library}.py").unlink()


def test_an_error_of_the_system_names_its_file_or_how_to_find_it() -> None:
    full = (errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert explain(OSError(*full, "/a/file")) == "No space left on device: '/a/file'"
    assert explain(OSError(*full, "/a/file", None, "/b")) == "No space left on device: '/a/file', '/b'"
    assert explain(OSError(*full)) == "No space left on device (SPLINTER_TRACEBACK=1 shows where)"

"""Write the reference pages that the code itself can tell: ``python docs/generate.py``, or ``--check`` to compare only.

Each page is a function that returns Markdown. ``tests/unit/test_docs.py`` fails when a page differs from what is returned here.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from splinter import client, errors, limits, wire
from splinter.cli import exit_status
from splinter.cli.main import app
from splinter.client import admin, dump, restore
from splinter.errors import SplinterError, Status, error_for
from splinter.ext import LocalStore, Store, signature
from splinter.server import config
from splinter.server.control import backups, dumps, operations
from splinter.server.metrics import table as metrics_table
from splinter.testing import Invoke, Server, interleavings
from splinter.worker.resp import commands, differences, scripts

FOLDER = Path(__file__).resolve().parent / "reference"
_NOTICE = "<!-- Written by docs/generate.py from {source}: change that, and run it again. -->"
_ROLE = re.compile(r":[a-z]+:`(?:~[\w.]*\.)?([^`]+)`")
_ASSIGNMENT = re.compile(r"^ *(\w+)(?:: [^=]+)? = .*?(?:  # (.*))?$")


# --- Markdown ------------------------------------------------------------------------------------------------------------


def cell(text: object) -> str:
    """Text for one cell of a table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", r"\|").strip()


def table(heads: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    """A table with a row of heads."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell(each) for each in line) + " |" for line in lines) + "\n"


def prose(text: str | None) -> str:
    """A docstring as Markdown: roles and double backticks become code."""
    return _ROLE.sub(r"`\1`", inspect.cleandoc(text or "")).replace("``", "`")


def first_sentence(text: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(prose(text).split("\n\n")[0].split())


def comments(source: str) -> dict[str, str]:
    """Comments that stand behind assignments, by name."""
    found = (_ASSIGNMENT.match(line) for line in source.splitlines())
    return {match[1]: match[2] or "" for match in found if match}


def meanings(kind: type[Any]) -> dict[str, str]:
    """The comment of each field of a class. Raises :class:`ValueError` for a field without one on the line that it begins."""
    known = comments(inspect.getsource(kind))
    for each in dataclasses.fields(kind):
        if not known.get(each.name):
            raise ValueError(f"{kind.__name__}.{each.name} has no meaning: a comment behind it, on one line")
    return known


def page(title: str, source: ModuleType, *parts: str) -> str:
    """A whole page."""
    name = Path(str(source.__file__)).relative_to(FOLDER.parents[1])
    return "\n\n".join([f"# {title}", _NOTICE.format(source=name), *(part.strip() for part in parts)]) + "\n"


# --- pages ---------------------------------------------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments and options."""
    from splinter.cli import main

    root = typer.main.get_command(app)
    parts = ["`splinter bench` has commands of its own: `splinter bench --help`."]
    parts += [_command(name, command) for name, command in _commands("splinter", root)]
    return page("Command line", main, *parts)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, each in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{name} {child}", each)


def _command(name: str, command: Any) -> str:
    parameters = [each for each in command.params if each.name not in ("help", "args")]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option" and not each.hidden]
    words = [_word(each) for each in arguments]
    usage = " ".join(
        [name, *(["[OPTIONS]"] if options else []), *words, *(["COMMAND"] if hasattr(command, "commands") else [])]
    )
    parts = [f"## {name}", prose(command.help), f"```\n{usage}\n```"]
    if arguments:
        rows = ((f"`{word}`", each.help or "") for word, each in zip(words, arguments, strict=True))
        parts.append(table(("argument", "meaning"), rows))
    if options:
        parts.append(table(("option", "meaning"), ((_flags(each), _help(each)) for each in options)))
    return "\n\n".join(part.strip() for part in parts if part)


def _word(argument: Any) -> str:
    word = (argument.metavar or argument.name.upper()).strip("[]") + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _flags(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag or option.count else f" `{option.metavar or 'VALUE'}`"
    return names + takes


def _help(option: Any) -> str:
    has_default = not option.is_flag and isinstance(option.default, int | float | str) and option.default != ""
    told = [option.help or "", f"Default: {option.default}." if has_default else ""]
    told.append(f"Environment: `{option.envvar}`." if option.envvar else "")
    return " ".join(each for each in told if each)


def limits_page() -> str:
    """Every limit with its value, by section."""
    known, parts = comments(inspect.getsource(limits)), []
    for section in re.split(r"^# --- ", inspect.getsource(limits), flags=re.MULTILINE)[1:]:
        title, text = section.split(" ---", 1)
        names = [match[1] for line in text.splitlines() if (match := re.match(r"([A-Z][A-Z0-9_]*) = ", line))]
        rows = ((f"`{name}`", _number(getattr(limits, name)), known[name]) for name in names)
        parts.append(f"## {title}\n\n" + table(("limit", "value", "meaning"), rows))
    return page("Limits", limits, prose(limits.__doc__), *parts)


def _number(value: float) -> str:
    if type(value) is int and value >= 1 << 16 and value & (value - 1) == 0:
        return f"{value:,} (2^{value.bit_length() - 1})"
    return f"{value:,}"


def configuration() -> str:
    """Settings of the TOML file, and the option of `splinter serve` for each."""
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = {each.name: f"`{each.opts[0]}`" for each in serve.params}
    options |= {"device": options["dev"], "memory_bytes": options["memory"]}
    known = meanings(config.ServerConfig)
    rows = (
        (f"`{each.name}`", str(each.type).replace(" | None", ""), _default(each), options.get(each.name, ""), known[each.name])
        for each in dataclasses.fields(config.ServerConfig)
    )
    return page(
        "Configuration",
        config,
        "A server takes its settings from `splinter serve --config FILE` (TOML), and from options of the command line, which "
        "win. "
        '`memory` stands for `memory_bytes` with a unit, such as `"1GiB"`.',
        "`contrib/splinter.toml` is such a file with every setting, each commented out.",
        table(("setting", "type", "default", "option", "meaning"), rows),
        "## Environment variables",
        table(("variable", "read by", "meaning"), ((f"`{name}`", *told) for name, told in ENVIRONMENT.items())),
    )


# Environment variables: who reads each, and what it does. tests/unit/test_environment.py compares this with the sources.
ENVIRONMENT = {
    "SPLINTER_INSTANCE": ("commands", "name of a server on this host, as `--instance`"),
    "SPLINTER_ADDRESS": ("commands", "a server elsewhere, IP or IP:PORT, as `--address`"),
    "SPLINTER_TENANT": ("commands", "tenant id, as `--tenant`"),
    "SPLINTER_TOKEN": ("commands", "the tenant's token, as `--token`"),
    "SPLINTER_CREDENTIAL": ("commands", "the administrator's credential, in place of the instance's"),
    "SPLINTER_TRACEBACK": ("commands", "`1`: an error shows where it came from"),
    "_SPLINTER_COMPLETE": ("commands", "set by a shell: [completion](../start/install.md#let-the-shell-complete)"),
    "SPLINTER_RUN_DIR": ("servers, commands", "folder of all instances, in place of `/run/splinter` or the user's own"),
    "SPLINTER_BPFFS": ("servers, commands", "where bpffs is mounted, in place of `/sys/fs/bpf`"),
    "XDG_RUNTIME_DIR": ("servers, commands", "a user's run folder is `splinter` in it, where the user is not root"),
    "XDG_CACHE_HOME": ("servers, commands", "compiled code is kept in `splinter` in it, in place of `~/.cache/splinter`"),
    "HOME": ("servers, commands", "the user's folder, `~` above"),
    "TMPDIR": ("servers, commands", "temporary files; run folder and cache are there where there is no other place for them"),
    "COLUMNS": ("commands", "how wide lines may be, where the terminal does not tell"),
    "NUMBA_*": ("servers", "settings of the compiler: code compiled under others is compiled anew"),
    "PATH": ("servers", "where clang is looked for first"),
    "NOTIFY_SOCKET": ("servers", "of a service manager: told when the server answers (sd_notify)"),
    "WATCHDOG_USEC": ("servers", "of a service manager: within so many microseconds it wants to hear from the server"),
    "WATCHDOG_PID": ("servers", "of a service manager: from which process"),
    "SPLINTER_PERF_MAP": ("servers, for development", "file for the names of compiled functions, for `perf`"),
    "SPLINTER_PROFILE": ("servers, for development", "`1`: workers are compiled so that they measure their stages"),
    "SPLINTER_KILL_POINTS": ("tests", "`1`: code is compiled so that a process can be killed at each step of the store's"),
    "SPLINTER_REQUIRE_CAPABILITIES": ("tests", "`1`: a test that is skipped for what the machine lacks fails"),
    "SPLINTER_FUZZ_EXAMPLES": ("tests", "how many random programs each fuzzing test tries"),
    "SPLINTER_MUTATED_BPF": ("tests", "folder of the XDP program's sources that are compiled in place of `bpf`"),
    "REDIS_SUITE_TESTS": ("`scripts/redis-suites`", "set by it for redis-py's tests: a file with those to run"),
    "REDIS_SUITE_OUTCOMES": ("`scripts/redis-suites`", "likewise: a file that gets a line for each"),
    "REDIS_SUITE_GATE": ("`scripts/redis-suites`", "likewise: a port that is told when each begins"),
    "TESTS_UPTIME_SECONDS": ("tests", "how long ago a server's machine seems to have been started, in a time namespace"),
    "BENCH_PREFIX": ("`splinter bench report`", "put before the command of each section, such as a lock"),
    "BENCH_PYTHON": ("`scripts/bench-all`", "the Python that measures, in place of `.venv`'s"),
    "EXPERIMENTS_PYTHON": ("`scripts/experiments`", "the Python that measures, in place of `.venv`'s"),
    "EXPERIMENTS_PREFIX": ("`scripts/experiments`", "put before the command of each experiment, such as a lock"),
    "SPLINTER_PYTHON": ("`scripts/setup`", "the Python that makes `.venv`"),
}  # fmt: skip

# Of settings whose default is none, or the machine's: what a file may say.
_EXAMPLES = {
    "data": '"/var/lib/splinter-default"',  # of the instance's name, as the units have it
    "durability": '"interval"',
    "metrics": '"127.0.0.1:9464"',
    "redis_port": "6379",
    "cores": "[0]",
    "log_cores": "[0]",
    "device": '"eth0"',
    "address": '"127.0.0.1"',
    "netns": '"splinter-server"',
    "client_netns": '"splinter-client"',
}


def annotated_configuration() -> str:
    """A file of `--config` with every setting, each commented out."""
    known = meanings(config.ServerConfig)
    lines = [
        "# Every setting of 'splinter serve --config FILE', with its default or an example: take the # away to change one.",
        "# Options of the command line win. Written by docs/generate.py from splinter/server/config.py.",
    ]
    for each in dataclasses.fields(config.ServerConfig):
        lines += ["", f"# {known[each.name]}", f"# {each.name} = {_EXAMPLES.get(each.name) or _toml(each.default)}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _default(field: Any) -> str:
    if field.default is dataclasses.MISSING:
        return "all that it may use"
    if field.default in (None, ()):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def statuses() -> str:
    """Statuses of the wire, the exception of each, and all exceptions."""
    rows = ((each.value, f"`{each.name}`", _exception(each), each.text) for each in Status)
    return page(
        "Statuses and exceptions",
        errors,
        table(("number", "status", "exception", "message"), rows),
        "`get` returns `None` and `delete` returns `False` for `NOT_FOUND`.",
        "## Opcodes",
        table(("number", "opcode"), ((each.value, f"`{each.name}`") for each in wire.Opcode)),
        "## Exceptions",
        "All stand in `splinter.errors`.",
        table(
            ("exception", "is also", "meaning"),
            (
                (f"`{cls.__name__}`", _bases(cls), first_sentence(cls.__doc__) if "__doc__" in vars(cls) else "")
                for cls in _errors()
            ),
        ),
    )


def redis_commands() -> str:
    """Commands of the Redis protocol, by group, and what there is not."""
    groups: dict[str, list[commands.Command]] = {}
    for each in commands.COMMANDS:
        groups.setdefault(each.group, []).append(each)
    parts = []
    for group, found in groups.items():
        rows = ((f"`{each.name.upper()}`", each.arity, each.since, f"{each.summary}.") for each in found)
        parts += [f"## {group.capitalize()}", table(("command", "arity", "since Redis", "what it does"), rows)]
    return page(
        "Commands of the Redis protocol",
        commands,
        "How to use them: [guide](../how-to/redis.md). Arity counts the name; less than 0: at least as many. Replies, and the "
        "first word of errors, are those of Redis 7.0 but for the differences below.",
        *parts,
        "## Scripts that are known",
        "EVAL, EVALSHA and SCRIPT LOAD know these by their SHA-1. Each runs as an extension of the "
        "[library](library.md#redis_scripts), in the table that SELECT has chosen, and is installed for the tenant when it is "
        "first sent.",
        table(
            ("client", "script", "SHA-1", "extension"),
            ((each.client, each.what, f"`{each.digest}`", f"`{each.extension}`") for each in scripts.SCRIPTS),
        ),
        "## What is not there",
        table(("what", "why"), iter(differences.NOT_THERE.items())),
        "## What differs",
        *(f"* {text}." for text in differences.DIFFERENCES),
    )


def exit_statuses() -> str:
    """What commands end with."""
    return page(
        "Exit statuses",
        exit_status,
        "A command that fails says why in one sentence on standard error, and ends with one of these. `splinter serve` ends "
        "with 0 when a signal has asked for its end. A signal *n* ends every other command with 128 + *n*.",
        table(("status", "name", "meaning"), ((each.value, f"`{each.name}`", each.text) for each in exit_status.ExitStatus)),
    )


def _exception(status: Status) -> str:
    return "" if status is Status.OK else f"`{type(error_for(status)).__name__}`"


def _errors() -> list[type[SplinterError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SplinterError)]


def _bases(cls: type) -> str:
    return ", ".join(f"`{each.__name__}`" for each in cls.__bases__ if each is not Exception)


# --- the control port ----------------------------------------------------------------------------------------------------


def control() -> str:
    """The operations of the control port, as `Operations` and those that it hands on to read their fields."""
    methods: dict[str, Any] = {}
    handlers: list[tuple[str, str]] = []
    for kind in (operations.Operations, backups.Backups, dumps.Dumps):
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
        own = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        handlers += _handlers(own["__init__"])
        methods = own | methods
    rows = ((f"`{op}`", *_operation(methods, name)) for op, name in handlers)
    return page(
        "Control operations",
        operations,
        "[The protocol](protocol.md) describes connection, messages and errors. `?` marks fields that may be left out. The "
        "administrator shows `credential`; a tenant shows `tenant` and `token`, and the administrator may ask for any tenant.",
        table(("op", "who", "fields of the request", "fields of the reply", "what it does"), rows),
    )


def _handlers(init: ast.AST) -> list[tuple[str, str]]:
    found = [each for each in ast.walk(init) if isinstance(each, ast.Dict) and each.keys]
    return [
        (str(key.value), value.attr)
        for each in found
        for key, value in zip(each.keys, each.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Attribute)
    ]


def _operation(methods: dict[str, Any], name: str) -> tuple[str, str, str, str]:
    called = _called(methods, name)
    who = "administrator" if "_require_administrator" in called else "tenant" if "_require_tenant" in called else "anybody"
    asked = [
        field for each in called if each not in ("_require_tenant", "_is_administrator") for field in _fields(methods[each])
    ]
    if "_require_tenant" in called:
        asked.insert(0, "`tenant`")
    replied = [
        str(key.value)
        for each in ast.walk(methods[name])
        if isinstance(each, ast.Return) and isinstance(each.value, ast.Dict)
        for key in each.value.keys
        if isinstance(key, ast.Constant)
    ]
    told = ", ".join(f"`{each}`" for each in dict.fromkeys(replied))
    return who, ", ".join(dict.fromkeys(asked)), told, first_sentence(ast.get_docstring(methods[name]))


def _called(methods: dict[str, Any], name: str) -> list[str]:
    """A method and those of its class that it hands the request to."""
    calls = (each for each in ast.walk(methods[name]) if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute))
    handed = [each for each in calls if any(ast.unparse(argument) == "request" for argument in each.args)]
    names = [ast.unparse(each.func).removeprefix("self.") for each in handed]
    return [name, *(deeper for each in names if each in methods for deeper in _called(methods, each))]


def _fields(method: ast.AST) -> Iterator[str]:
    for each in ast.walk(method):
        if (
            not isinstance(each, ast.Call)
            or not isinstance(each.func, ast.Attribute)
            or ast.unparse(each.func.value) != "fields"
        ):
            continue
        kind, field = each.func.attr, each.args[1]
        may_miss = kind.startswith("optional_") or kind == "flag" or any(word.arg == "default" for word in each.keywords)
        names = [str(field.value)] if isinstance(field, ast.Constant) else operations.RECORD_LIMITS
        yield from (f"`{name}`{'?' if may_miss else ''}" for name in names)


# --- metrics -------------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric of the OpenMetrics endpoint."""
    rows = (
        (f"`{each.full_name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.text)
        for each in metrics_table.METRICS
    )
    return page(
        "Metrics",
        metrics_table,
        "What `splinter serve --metrics ADDRESS:PORT` tells at `/metrics`; [the guide](../how-to/metrics.md) tells how to use "
        "it. `core` is a CPU number. A histogram has samples `_bucket`, `_sum` and `_count`. `splinter_info`, always 1, has "
        "the labels `version`, `transport` and `mode`. A metric that a server has nothing to tell of is left out: those of the "
        "disk without a data folder, those of the driver over UDP.",
        f"`tenant` and `extension` are `{metrics_table.OTHERS}` for the sum of those without series of their own.",
        table(("metric", "kind", "labels", "meaning"), rows),
    )


# --- Python ---------------------------------------------------------------------------------------------------------------


def python_api() -> str:
    """Classes that programs use, with signatures and docstrings."""
    classes = (
        client.Client,
        client.Pipeline,
        client.Transaction,
        client.AsyncClient,
        client.AsyncPipeline,
        client.AsyncTransaction,
        client.ExtensionInfo,
        signature.Signature,
        admin.Admin,
        admin.TenantInfo,
        dump.Dump,
        restore.Into,
        restore.Restored,
        Server,
        Store,
        LocalStore,
        Invoke,
    )
    told = (*map(_class, classes), _function(interleavings))
    return page("Python API", client, "Exceptions: [statuses](statuses.md).", *told)


def _class(cls: type) -> str:
    parts = [f"## {cls.__name__}", f"`from {_home(cls)} import {cls.__name__}`", prose(cls.__doc__)]
    if not dataclasses.is_dataclass(cls) and not issubclass(cls, enum.Enum):
        parts.append(_code(cls.__name__, cls.__init__))
    for name, member in _public(cls).items():
        if isinstance(member, property):
            parts.append(f"### {cls.__name__}.{name}\n\n{prose(member.__doc__)}")
        elif callable(getattr(cls, name)):
            parts.append(f"### {cls.__name__}.{name}\n\n{_code(name, getattr(cls, name))}\n\n{prose(member.__doc__)}")
    if dataclasses.is_dataclass(cls):
        known = comments(inspect.getsource(cls))
        rows = ((f"`{each.name}`", f"`{each.type}`", known.get(each.name, "")) for each in dataclasses.fields(cls))
        parts.append(table(("field", "type", "meaning"), rows))
    return "\n\n".join(part for part in parts if part)


def _public(cls: type) -> dict[str, Any]:
    """What a class has under public names, and what it has of our classes that it is made from."""
    ours = [one for one in cls.__mro__ if one.__module__.partition(".")[0] == "splinter"]
    return {name: vars(one)[name] for one in reversed(ours) for name in vars(one) if not name.startswith("_")}


def _function(function: Callable[..., Any]) -> str:
    name = function.__name__
    parts = (f"## {name}", f"`from {_home(function)} import {name}`", _code(name, function), prose(function.__doc__))
    return "\n\n".join(parts)


def _home(cls: Callable[..., Any]) -> str:
    short = cls.__module__.rsplit(".", 1)[0]
    return short if getattr(sys.modules[short], cls.__name__, None) is cls else cls.__module__


def _code(name: str, function: Callable[..., Any]) -> str:
    told = inspect.signature(function)
    parameters = [each for key, each in told.parameters.items() if key != "self"]
    return f"```py\n{name}{told.replace(parameters=parameters)}\n```".replace("'", "")


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "limits.md": limits_page,
    "configuration.md": configuration,
    "../../contrib/splinter.toml": annotated_configuration,
    "statuses.md": statuses,
    "exit-statuses.md": exit_statuses,
    "redis.md": redis_commands,
    "control.md": control,
    "metrics.md": metrics,
    "python.md": python_api,
}


def main() -> int:
    """Write all pages, or with ``--check`` name those that differ; returns the exit status."""
    made = {FOLDER / name: make() for name, make in PAGES.items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path}: {'stale' if '--check' in sys.argv else 'written'}")
        if "--check" not in sys.argv:
            path.write_text(made[path])
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())

"""``splinter install``, ``uninstall``, ``extensions``, ``library``, ``check`` and ``invoke``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from splinter import limits
from splinter.cli import arguments
from splinter.cli.completion import complete_extension
from splinter.cli.listing import AsJson, say_json, say_table
from splinter.cli.target import Address, Instance, Tenant, Token, find_server
from splinter.cli.told import telling
from splinter.client.control import understood
from splinter.errors import SplinterError
from splinter.ext import library
from splinter.terminal import Terminal, say
from splinter.visible import visible, visible_bytes

if TYPE_CHECKING:
    from splinter.client import ExtensionInfo
    from splinter.ext.kernel.code import KernelCode

_File = Annotated[Path, typer.Argument(metavar="FILE.py", help="Source with one @extension function.")]
_FileOrEntry = Annotated[
    str, typer.Argument(metavar="FILE.py|NAME", help="Source with @extension functions, or an entry of the library.")
]
_Name = Annotated[str | None, typer.Option("--name", help="Install under this name; of several, the one so named.")]
_INSTALL_SECONDS = 60.0  # other tenants' sources may be compiled first
_ARGUMENTS_AS_THEY_ARE = {"ignore_unknown_options": True}  # -5 is a number, not an option


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(install)
    app.command()(uninstall)
    app.command()(release)
    app.command("extensions")(list_extensions)
    app.command()(log)
    app.command("library")(show_library)
    app.command()(check)
    app.command(context_settings=_ARGUMENTS_AS_THEY_ARE)(invoke)


def install(
    file: _FileOrEntry,
    tenant: Tenant,
    name: _Name = None,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Verify, compile and publish an extension, in place of the one of its name.

    Of a source with several extensions all are installed, or with --name that one. A NAME that is no file here is an
    entry of the library (see 'splinter library').

    Examples: splinter install hypernyms.py --tenant 7; splinter install tao --tenant 7
    """
    source = library.text(file) if file in library.NAMES and not Path(file).exists() else _read_source(Path(file))
    with find_server(instance, address).client(tenant, token) as client:
        installed = (
            client.install_all(source, timeout=_INSTALL_SECONDS)
            if name is None
            else [client.install(source, name=name, timeout=_INSTALL_SECONDS)]
        )
    names = ", ".join(visible(info.name) for info in installed)
    with telling(f"installed all the same: {names}; 'splinter extensions' shows them"):
        for info in installed:
            say(f"installed {visible(str(info.signature))}, version {info.version}, {info.code_bytes} bytes of code")


def uninstall(
    name: Annotated[str, typer.Argument(help="The extension's name.", autocompletion=complete_extension)],
    tenant: Tenant,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Remove an extension.

    Example: splinter uninstall hypernyms --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        client.uninstall(name)


def release(
    name: Annotated[str, typer.Argument(help="The extension's name.", autocompletion=complete_extension)],
    tenant: Tenant,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """End an extension's quarantine (for the administrator; its owner installs it again).

    Example: splinter release hypernyms --tenant 7
    """
    with find_server(instance, address).admin() as admin:
        admin.release_extension(tenant, name)


def list_extensions(
    tenant: Tenant,
    history: Annotated[
        bool, typer.Option("--history", help="What was installed and uninstalled, oldest first, on a server with --data.")
    ] = False,
    as_json: AsJson = False,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """List a tenant's extensions, or what was done with them.

    Examples: splinter extensions --tenant 7; splinter extensions --tenant 7 --history
    """
    with find_server(instance, address).client(tenant, token) as client:
        if history:
            _show_history(client.extension_history(), as_json)
            return
        found = client.extensions()
    if as_json:
        say_json([_plain(info) for info in found])
        return
    rows = []
    for info in found:
        invocations = (f"{info.invocations:,}", f"{info.in_kernel:,}")
        counts = (*invocations, f"{info.errors:,}", f"{info.yields:,}", f"{info.cpu_us / 1000:,.1f}")
        kills = f"{info.kills}, quarantined" if info.quarantined else str(info.kills)
        rows.append([visible(str(info.signature)), str(info.version), info.place, *counts, kills])
    heads = ("signature", "version", "place", "invocations", "in kernel", "errors", "yields", "CPU ms", "kills")
    say_table(heads, rows, wraps="signature")
    for info in found:
        if info.not_runnable:
            say(visible(f"{info.signature.name} cannot be run: {info.not_runnable}"))
        if info.worker_reason:
            say(visible(f"{info.signature.name} is in the worker: {info.worker_reason}"))


def _show_history(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    rows = []
    with understood():
        for each in found:
            moment = datetime.fromtimestamp(each["at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            rows.append([moment, visible(str(each["name"])), str(each["version"]), visible(str(each["what"]))])
    say_table(("time", "extension", "version", "what"), rows, wraps="extension")


def log(
    tenant: Tenant,
    as_json: AsJson = False,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Show what a tenant's extensions wrote by db.log of late, oldest first.

    Example: splinter log --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        entries = client.log()
    if as_json:
        say_json([{"time_ns": time_ns, "text": text} for time_ns, text in entries])
        return
    for time_ns, text in entries:
        say(f"{time_ns / 1e9:.6f} {visible_bytes(text)}")


def show_library(
    entry: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this entry's source.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the extensions that come with Splinter, or print the source of an entry.

    Examples: splinter library; splinter library tao > my_tao.py
    """
    if entry is not None:
        found_text = library.text(entry)
        say_json({"name": entry, "source": found_text}) if as_json else say(found_text, end="")
        return
    if as_json:
        told = [library.entry(name) for name in library.NAMES]
        say_json([{"name": one.name, "description": one.description, "extensions": list(one.sources)} for one in told])
        return
    table = Table("name", "what it is", "extensions")
    for name in library.NAMES:
        found = library.entry(name)
        table.add_row(name, found.description, ", ".join(found.sources))
    Terminal().print(table)


def check(file: _File, as_json: AsJson = False) -> None:
    """Verify a source without a server: all findings with their lines; exit status 1 when it would be refused.

    It tells where the extension would run. As root, on a machine whose kernel can run extensions, that is tried: its program is
    loaded, and attached to nothing. Elsewhere the kernel of the server decides when it is installed.
    """
    from splinter.ext.compile import compile_source  # LLVM takes its time to load

    source = _read_source(file)
    compiled = compile_source(source, filename=str(file))
    placement = _placement(source, str(file))
    if as_json:
        sizes = {"code_bytes": len(compiled.code), "frame_bytes": compiled.frame_bytes}
        say_json({"file": str(file), "signature": str(compiled.signature), **sizes, "placement": placement})
        return
    say(f"{file}: {compiled.signature}: {len(compiled.code)} bytes of code, {compiled.frame_bytes} bytes of frame")
    say(f"{file}: {placement}")


def _placement(source: str, filename: str) -> str:
    """Where the only extension of a source would run, in words. Raises :class:`CompileError` when it would be refused."""
    from splinter.ext.front.diagnostics import Findings
    from splinter.ext.kernel.code import refuse_place
    from splinter.server import trial

    code = _kernel_code(source)
    if not code.object_file:
        return f"runs in the worker: {code.text or 'the compiler has no code for it in the kernel'}"
    try:
        reason = trial.worker_reason(code)
    except SplinterError as error:
        return f"fits the kernel, which decides when it is installed; not tried here: {error}"
    if not reason:
        return "runs in the kernel: the one of this machine takes it"
    if code.is_required:
        refuse_place(Findings(source, filename), replace(code, reason=reason), 1)
    return f"runs in the worker: {reason}"


def _kernel_code(source: str) -> KernelCode:
    """What the compiler has of the only extension of a source for the kernel."""
    from splinter.server.control.compiler import Compiler  # in its child, which LLVM may end over code for BPF

    async def compiled() -> KernelCode:
        compiler = Compiler()
        try:
            (made,) = await compiler.compile(source, kernel=True)
        finally:
            compiler.close()
        return made.kernel

    return asyncio.run(compiled())


def invoke(
    name: Annotated[str, typer.Argument(help="The extension's name.", autocompletion=complete_extension)],
    tenant: Tenant,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARG…", help="By position or NAME=VALUE; bytes as text, hex:00ff or @FILE."),
    ] = None,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Run an extension and print its result.

    Examples: splinter invoke hypernyms 2084071 --tenant 7; splinter invoke hypernyms synset=2084071 --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        positional, named = arguments.parse(client.signature(name), values or [])
        result = client.invoke(name, *positional, **named)
    if result is not None:
        with telling(f"{name} was run, and what it wrote stands; its result is lost"):
            say(arguments.show(result))


def _read_source(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(limits.SOURCE_BYTES_MAX + 1).decode()  # one byte too many is refused as too long
    except OSError as error:
        hint = "" if file.suffix else "; the library ('splinter library') has none of this name either"
        raise SplinterError(f"{file}: {error.strerror}{hint}") from None
    except UnicodeDecodeError:
        raise SplinterError(f"{file}: not UTF-8 text") from None


def _plain(info: ExtensionInfo) -> dict[str, Any]:
    return {**vars(info), "signature": str(info.signature)}

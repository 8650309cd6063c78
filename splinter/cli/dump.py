"""``splinter dump``."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Annotated

import typer

from splinter import limits
from splinter.cli.completion import complete_tenant
from splinter.cli.errors import fail
from splinter.cli.exit_status import ExitStatus
from splinter.cli.progress import shown
from splinter.cli.target import Address, Instance, find_server
from splinter.cli.told import spans, telling
from splinter.client.dump import Dump
from splinter.durable.files import Disk
from splinter.errors import SplinterError
from splinter.interrupts import uninterrupted
from splinter.terminal import complain, naming_output, say

STANDARD = "-"  # a file's name: standard input or output
_MIB = 1 << 20
_TOLD_MAX = 8  # objects that could not be read, one line each


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(dump)


def dump(
    tenant: Annotated[
        int | None,
        typer.Option("--tenant", "-t", help="Tenant id.", min=1, max=limits.TENANTS_MAX - 1, autocompletion=complete_tenant),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tenants.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; '-' is standard output.")] = STANDARD,
    with_tokens: Annotated[
        bool, typer.Option("--with-tokens", help="With the tenants' tokens: whoever reads the dump is let in as these.")
    ] = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Write a tenant's objects, limits and extensions, or all tenants', as JSON Lines while the server serves.

    A file is readable by its owner only, and gets its name when it is whole. 'splinter restore' puts it back.

    Examples: splinter dump --tenant 7 --output 7.dump; splinter dump --all | gzip > all.dump.gz
    """
    if every == (tenant is not None):
        raise typer.BadParameter("say --tenant ID or --all")
    began = time.monotonic()
    with find_server(instance, address).admin() as admin, written(output) as write:
        made = admin.dump(tenant, with_tokens=with_tokens)
        with shown("dumping") as show:
            for piece in made:
                write(piece)
                show(made.done, made.total, f"{made.objects:,} objects")
    if output != STANDARD:
        what = f"tenant {tenant}" if tenant is not None else f"{made.tenants:,} tenants"
        with telling(f"the dump in {output} was made all the same"):
            say(
                f"dumped {what} to {output}: {made.objects:,} objects, {made.extensions:,} extensions, "
                f"{made.bytes / _MIB:,.1f} MiB in {time.monotonic() - began:.1f} s"
            )
    _warn(made)


def _warn(made: Dump) -> None:
    if made.without_source:
        names = ", ".join(f"{name!r} of tenant {tenant}" for tenant, name in made.without_source[:8])
        more = len(made.without_source) - 8
        told = names + (f" and {more} more" if more > 0 else "")
        complain(f"splinter: without their sources, which a server without a data folder does not have: extensions {told}")
    for tenant, table, key in made.unreadable[:_TOLD_MAX]:
        complain(f"splinter: the value of {key!r} in table {table} of tenant {tenant} could not be read, and was left out")
    removed = set(made.incomplete) - {tenant for tenant, _, _ in made.unreadable}
    if removed:
        complain(f"splinter: removed meanwhile, so not all of it is in the dump: tenants {spans(removed)}")
    if made.unreadable:
        raise fail(f"{len(made.unreadable)} objects are not in the dump; it has all else", ExitStatus.FAILED)


@contextlib.contextmanager
def written(output: str) -> Iterator[Callable[[bytes], object]]:
    """For a block that writes to a file by what it is given. A regular file has another name until the block has ended well,
    and is on the disk then; else nothing is left. A device, a pipe or standard output is written to as it is."""
    if output == STANDARD:
        with naming_output():
            sys.stdout.flush()

        def write(piece: bytes) -> None:
            with naming_output():
                sys.stdout.buffer.write(piece)

        yield write
        with naming_output():
            sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.is_dir():
        raise SplinterError(f"{output} is a folder: name a file")
    if path.exists() and not path.is_file():  # before its links are followed: those of /dev/fd name no file
        with path.open("wb", buffering=0) as opened:
            yield _writer(opened, output)
        return
    path = path.resolve()
    with contextlib.ExitStack() as undo:
        with uninterrupted(), _naming(output):  # else who is interrupted here leaves the file
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")  # mode 0600
            undo.callback(_remove, Path(name))
        with os.fdopen(descriptor, "wb", buffering=0) as opened:
            yield _writer(opened, output)
            with _naming(output):
                os.fsync(opened.fileno())
        Path(name).replace(path)
        undo.pop_all()
    Disk().sync_folder(path.parent)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _naming(output: str) -> Iterator[None]:
    """For a block that writes to a file: what the system says of it is told with the name that the user gave it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None


def _writer(opened: FileIO, output: str) -> Callable[[bytes], object]:
    """Writes all of a piece. There is no buffer, which would be written once more when the file is closed."""

    def write(piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            with _naming(output):
                done = opened.write(rest)
                if done is None:  # who opened it said that nobody is to wait
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            rest = rest[done:]

    return write

"""``splinter restore``."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from splinter import limits
from splinter.cli.dump import STANDARD
from splinter.cli.errors import fail
from splinter.cli.exit_status import ExitStatus
from splinter.cli.progress import shown
from splinter.cli.target import Address, Instance, find_server, parse_token_text
from splinter.cli.told import require_reader, spans, telling
from splinter.client.dump_format import End, Header, read_line
from splinter.client.encoding import format_token
from splinter.client.restore import Into, Restored
from splinter.errors import DumpError, SplinterError
from splinter.terminal import complain, say
from splinter.wire import DURABILITIES

_READ_BYTES = 1 << 20
_TOLD_MAX = 8  # extensions that could not be installed, one line each


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(restore)


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A dump; '-' is standard input.")],
    tenant: Annotated[
        int | None,
        typer.Option("--tenant", "-t", help="Only this tenant of the dump.", min=1, max=limits.TENANTS_MAX - 1),
    ] = None,
    to: Annotated[
        int | None,
        typer.Option("--as", metavar="ID", help="Under another id, of one tenant.", min=1, max=limits.TENANTS_MAX - 1),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Into a tenant that has objects: those that the dump has are replaced, others stay.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Into a tenant that has objects: these are removed first, other extensions at the end."),
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Token of a tenant that is created; by default that of the dump, or random."),
    ] = None,
    durability: Annotated[
        str | None, typer.Option(metavar="MODE", help="none, interval or always, of tenants that are created.")
    ] = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Put back what 'splinter dump' wrote: into the same server or another, under the same id or another.

    Tenants that are missing are created, and each is printed with its token: 'TENANT TOKEN'. A file is verified before anything
    is changed. What is over by now is left out.

    Examples: splinter restore 7.dump; splinter restore 7.dump --as 8; zcat all.dump.gz | splinter restore - --tenant 7 --merge
    """
    if merge and replace:
        raise typer.BadParameter("--merge and --replace exclude each other")
    if replace and file == STANDARD:
        raise typer.BadParameter("--replace needs a file: nothing is removed before all of the dump is there")
    if durability is not None and durability not in DURABILITIES:
        raise typer.BadParameter(f"--durability is one of {', '.join(DURABILITIES)}, not {durability!a}")
    chosen = parse_token_text(token) if token is not None else None
    into = Into.MERGE if merge else Into.REPLACE if replace else Into.EMPTY
    require_reader()
    began = time.monotonic()
    with find_server(instance, address).admin() as admin, _opened(file) as opened, shown("restoring") as show:
        source = _Source(opened, show)
        if not source.verify() and replace:
            raise SplinterError(f"{file} is no regular file: --replace needs one, which is verified before anything is removed")
        done = Restored()
        source.tell = lambda: f"{done.objects:,} objects"
        try:
            admin.restore(source.pieces(), tenant=tenant, to=to, into=into, token=chosen, durability=durability, done=done)
        except BaseException:
            _tell_part(done)
            raise
    _tell(done, time.monotonic() - began)


class _Source:
    """A dump that was opened: its pieces, with progress; of a regular file it is known how long it is."""

    def __init__(self, opened: BinaryIO, show: Callable[[int, int, str], None]) -> None:
        self._opened, self._show = opened, show
        told = os.fstat(opened.fileno())
        self._size = told.st_size if stat.S_ISREG(told.st_mode) else None
        self._read = 0
        self.tell: Callable[[], str] = lambda: "verifying"

    def pieces(self) -> Iterator[bytes]:
        """All of it, from where it stands. Raises :class:`SplinterError` when it cannot be read."""
        self._read = 0
        while piece := self._next():
            yield piece

    def _next(self) -> bytes:
        try:
            piece = self._opened.read(_READ_BYTES)
        except OSError as error:
            raise SplinterError(f"the dump cannot be read: {error.strerror}") from None
        self._read += len(piece)
        self._show(self._read, self._size or 0, self.tell())
        return piece

    def verify(self) -> bool:
        """Of a regular file: raise :class:`DumpError` when it is not as it was written. False: it is no such file."""
        if self._size is None:
            return False
        begins_at = self._opened.tell()
        verify(self.pieces())
        self._opened.seek(begins_at)
        return True


def verify(pieces: Iterator[bytes]) -> None:
    """Raise :class:`DumpError` when a dump is not as it was written: its first line, and the checksum in its last."""
    digest, held, lines, is_first = hashlib.sha256(), b"", 0, True
    for piece in pieces:
        held += piece
        if is_first and b"\n" in held:
            _expect(held.partition(b"\n")[0], 1, Header)
            is_first = False
        # The last line, with its end, is what stands behind the last end but one.
        cut = held.rfind(b"\n", 0, len(held) - 1) + 1
        digest.update(held[:cut])
        lines += held.count(b"\n", 0, cut)
        held = held[cut:]
        if len(held) > limits.DUMP_LINE_BYTES_MAX + 1:
            raise DumpError(f"line {lines + 1}: it has more than {limits.DUMP_LINE_BYTES_MAX} bytes", lines + 1)
    if not held.endswith(b"\n"):
        raise DumpError(f"line {lines + 1}: the dump was cut in the middle of it", lines + 1)
    end = _expect(held[:-1], lines + 1, End)
    assert isinstance(end, End)
    if end.sha256 != digest.hexdigest() or 1 + end.tenants + end.extensions + end.parts + end.objects != lines:
        raise DumpError(
            f"line {lines + 1}: checksum or counts are not those of the lines before: the dump is damaged", lines + 1
        )


def _expect(raw: bytes, line: int, kind: type[Header | End]) -> object:
    try:
        found = read_line(raw)
        if not isinstance(found, kind):
            raise ValueError("it is no dump's first line" if kind is Header else "the dump was cut: its last line is missing")
    except ValueError as error:
        raise DumpError(f"line {line}: {error}", line) from None
    return found


def _opened(file: str) -> BinaryIO:
    """The dump. Raises :class:`SplinterError` when it cannot be opened."""
    if file == STANDARD:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise SplinterError(f"{file}: {error.strerror}") from None


def _tell_part(done: Restored) -> None:
    """What was done stands; what failed is told by itself."""
    if not done.tenants and not done.created:
        return
    names = spans(tenant for tenant, _ in done.created)
    created = f"; created were tenants {names} ('splinter tenant token' shows their tokens)" if done.created else ""
    complain(f"splinter: the restore ended early, and what it did stays: {done.objects:,} objects put{created}")


def _tell(done: Restored, seconds: float) -> None:
    with telling(f"the dump was put back; {done.objects:,} objects; 'splinter tenant token' shows the tokens of new tenants"):
        for tenant, token in done.created:
            say(f"{tenant} {format_token(token)}")
        over = f", {done.over:,} left out that are over" if done.over else ""
        counts = f"{done.tenants:,} tenants, {done.objects:,} objects{over}, {done.extensions:,} extensions"
        complain(f"restored {counts} in {seconds:.1f} s")
    if done.incomplete:
        told = f"tenants {spans(done.incomplete)}"
        complain(f"splinter: removed or unreadable when the dump was made, so not all of it was there: {told}")
    if done.not_installed:
        for tenant, name, reason in done.not_installed[:_TOLD_MAX]:
            complain(f"splinter: extension {name!r} of tenant {tenant} was not installed: {reason}")
        raise fail(f"{len(done.not_installed)} extensions were not installed; all else was put back", ExitStatus.FAILED)

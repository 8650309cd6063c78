"""``splinter get``, ``put``, ``delete``, ``expire``, ``persist`` and ``ttl``: one object; ``scan``: the keys of a table."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splinter import limits
from splinter.cli.errors import fail
from splinter.cli.exit_status import ExitStatus
from splinter.cli.target import Address, Instance, Table, Tenant, Token, find_server
from splinter.client.arguments import check_ttl
from splinter.errors import OutOfMemoryError, QuotaExceededError, SplinterError
from splinter.terminal import naming_output, say
from splinter.visible import visible_bytes, visible_lines

if TYPE_CHECKING:
    from splinter.client import Client


class KeyForm(StrEnum):
    """How a key is written on the command line."""

    TEXT = "text"
    INT = "int"
    HEX = "hex"


_INTEGER_BYTES = 8  # of a key
_INPUT_BYTES_MAX = 3 * limits.LARGE_BYTES_MAX  # more than any value, as hexadecimal digits too: refused as too large

_KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The object's key.")]
_KeyOption = Annotated[
    KeyForm,
    typer.Option("--key", help="KEY is text, an integer (8 bytes little-endian, as in extensions) or hexadecimal."),
]
_Hex = Annotated[bool, typer.Option("--hex", help="The value is hexadecimal.")]


def _lifetime(seconds: float | None) -> float | None:
    """What the client takes, so that nobody is asked for anything else."""
    try:
        if seconds is not None:
            check_ttl(seconds)
    except ValueError:
        raise typer.BadParameter(f"more than 0 and at most {limits.TTL_NS_MAX // 10**9:,} seconds") from None
    return seconds


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(get)
    app.command()(put)
    app.command()(delete)
    app.command()(expire)
    app.command()(persist)
    app.command()(ttl)
    app.command()(scan)


def get(
    key: _KeyArgument,
    tenant: Tenant,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    as_hex: _Hex = False,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Write an object's value to standard output, byte for byte; exit status 3 when there is none.

    A terminal is shown what can be seen, and the rest escaped.

    Example: splinter get dog --tenant 7 --table 1
    """
    with find_server(instance, address).client(tenant, token) as client:
        value = client.get(parse_key(key, form), table=table)
    if value is None:
        raise fail(f"no object {key!r} in table {table} of tenant {tenant}", ExitStatus.NOT_FOUND)
    if as_hex:
        say(value.hex())
        return
    if sys.stdout.isatty():
        say(visible_lines(value.decode(errors="surrogateescape")))
        return
    with naming_output():
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()


def put(
    key: _KeyArgument,
    tenant: Tenant,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="By default read from standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Take the value from a file.")] = None,
    lifetime: Annotated[
        float | None, typer.Option("--ttl", metavar="SECONDS", help="How long it lives; without, for ever.", callback=_lifetime)
    ] = None,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    as_hex: _Hex = False,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Store an object, in place of the one there was.

    Examples: splinter put dog 'a domesticated canid' --tenant 7 --table 1; splinter put photo --file cat.jpg --tenant 7;
    splinter put session 42 --ttl 3600 --tenant 7
    """
    body = _read_value(value, file, as_hex)
    with find_server(instance, address).client(tenant, token) as client:
        client.put(parse_key(key, form), body, table=table, ttl=lifetime)


def delete(
    key: _KeyArgument,
    tenant: Tenant,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Delete an object; exit status 3 when there was none.

    Example: splinter delete dog --tenant 7 --table 1
    """
    with find_server(instance, address).client(tenant, token) as client:
        found = _delete(client, parse_key(key, form), table)
    _require(found, key, table, tenant)


def expire(
    key: _KeyArgument,
    seconds: Annotated[
        float, typer.Argument(metavar="SECONDS", help="How long the object lives from now on.", callback=_lifetime)
    ],
    tenant: Tenant,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Say how long an object lives; exit status 3 when there is none.

    Example: splinter expire session 60 --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        found = client.expire(parse_key(key, form), seconds, table=table)
    _require(found, key, table, tenant)


def persist(
    key: _KeyArgument,
    tenant: Tenant,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Have an object live for ever; exit status 3 when there is none.

    Example: splinter persist session --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        found = client.persist(parse_key(key, form), table=table)
    _require(found, key, table, tenant)


def ttl(
    key: _KeyArgument,
    tenant: Tenant,
    table: Table = 0,
    form: _KeyOption = KeyForm.TEXT,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Print how many seconds an object still lives, "inf" for ever; exit status 3 when there is none.

    Example: splinter ttl session --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client:
        left = client.ttl(parse_key(key, form), table=table)
    _require(left is not None, key, table, tenant)
    say(f"{left:.3f}" if left != math.inf else "inf")


def _require(found: bool, key: str, table: int, tenant: int) -> None:
    if not found:
        raise fail(f"no object {key!r} in table {table} of tenant {tenant}", ExitStatus.NOT_FOUND)


def _delete(client: Client, key: int | bytes, table: int) -> bool:
    """Also where there is no room for what the server keeps of a new client, as each command is one."""
    try:
        return client.delete(key, table=table)
    except (OutOfMemoryError, QuotaExceededError):
        version = client.get_with_version(key, table=table)[1]
        return version != 0 and client.delete(key, table=table, if_version=version)


def parse_key(key: str, form: KeyForm) -> int | bytes:
    """A key as the client takes it. Raises :class:`SplinterError` when it is not of its form."""
    try:
        if form is KeyForm.INT:
            return int(key, 0)
        return bytes.fromhex(key) if form is KeyForm.HEX else key.encode(errors="surrogateescape")
    except ValueError:
        raise SplinterError(f"key {key!r} is not {'an integer' if form is KeyForm.INT else 'hexadecimal'}") from None


def _read_value(value: str | None, file: Path | None, as_hex: bool) -> bytes:
    if value is not None and file is not None:
        raise SplinterError("give the value or --file, not both")
    if file is not None:
        try:
            with file.open("rb") as opened:
                body = opened.read(_INPUT_BYTES_MAX)
        except OSError as error:
            raise SplinterError(f"{file}: {error.strerror}") from None
    elif value is not None:
        body = value.encode(errors="surrogateescape")
    else:
        body = _read_standard_input()
    if not as_hex:
        return body
    try:
        return bytes.fromhex(body.decode())
    except ValueError:
        raise SplinterError("the value is not hexadecimal") from None


def _read_standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read(_INPUT_BYTES_MAX)
    except OSError as error:
        raise SplinterError(f"standard input: {error.strerror}: give the value as VALUE or by --file") from None


def scan(
    tenant: Tenant,
    prefix: Annotated[str | None, typer.Argument(metavar="PREFIX", help="Only keys that begin with this.")] = None,
    table: Table = 0,
    form: Annotated[
        KeyForm,
        typer.Option(
            "--key",
            help="PREFIX is, and keys are shown as, text, integers (those of 8 bytes, little-endian; others are left out) or "
            "hexadecimal.",
        ),
    ] = KeyForm.TEXT,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """List the keys of a table, a line each, in no order, while others write. In text what cannot be seen is escaped.

    Examples: splinter scan --tenant 7 --table 1; splinter scan session: --tenant 7; splinter scan --key hex --tenant 7
    """
    with find_server(instance, address).client(tenant, token) as client, naming_output():
        for key in client.scan(table, parse_key(prefix, form) if prefix else None):
            if form is KeyForm.HEX:
                say(key.hex())
            elif form is KeyForm.TEXT:
                say(visible_bytes(key))
            elif len(key) == _INTEGER_BYTES:
                say(str(int.from_bytes(key, "little")))

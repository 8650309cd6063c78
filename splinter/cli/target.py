"""Which server a command talks to, and as whom."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import Annotated

import typer

from splinter import limits
from splinter.cli.completion import complete_instance, complete_tenant
from splinter.client import Client
from splinter.client.admin import Admin
from splinter.client.control import ControlConnection
from splinter.client.encoding import parse_token
from splinter.errors import SplinterError
from splinter.server import instance as instances
from splinter.terminal import complain

_TIMEOUT_SECONDS, _ADMIN_SECONDS = 2.0, 30.0
_CREDENTIAL_VARIABLE = "SPLINTER_CREDENTIAL"
_PORT_MAX = 65535
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # of a host's name (RFC 1123), or of an address
_ADDRESS = re.compile(rf"((?:{_LABEL}\.){{0,20}}{_LABEL})(?::([0-9]{{1,5}}))?")
_NAME_CHARACTERS_MAX = 253

Instance = Annotated[
    str,
    typer.Option(
        "--instance",
        "-i",
        envvar="SPLINTER_INSTANCE",
        help="Name of a server on this host.",
        autocompletion=complete_instance,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        "-a",
        envvar="SPLINTER_ADDRESS",
        metavar="IP[:PORT]",
        help="A server elsewhere, in place of --instance.",
    ),
]
Tenant = Annotated[
    int,
    typer.Option(
        "--tenant",
        "-t",
        envvar="SPLINTER_TENANT",
        help="Tenant id.",
        min=1,
        max=limits.TENANTS_MAX - 1,
        autocompletion=complete_tenant,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SPLINTER_TOKEN",
        help="The tenant's token; the owner of a server on this host needs none.",
        show_envvar=True,
    ),
]
Table = Annotated[int, typer.Option("--table", help="Table number.", min=0, max=limits.TABLES_MAX - 1)]


@dataclass(frozen=True)
class Server:
    """Where a server answers, from which network namespace it is reached, and its instance when it is on this host."""

    address: str
    port: int
    netns: str | None
    instance: str | None

    def client(self, tenant: int, token: str | None, *, timeout: float | None = None) -> Client:
        """A client; without a token the administrator's credential finds it.

        ``timeout`` is in seconds, for each request, and for what is asked of the control port before.
        """
        number = parse_token_text(token) if token else self._look_up_token(tenant, timeout)
        seconds = _TIMEOUT_SECONDS if timeout is None else timeout
        return Client(self.address, tenant, number, port=self.port, netns=self.netns, timeout=seconds)

    def hello(self, seconds: float) -> None:
        """Have the control port answer within so many seconds. Raises :class:`SplinterError`."""
        with contextlib.closing(ControlConnection(self.address, self.port, netns=self.netns, timeout=seconds)) as connection:
            connection.request("hello")

    def admin(self, seconds: float = _ADMIN_SECONDS) -> Admin:
        """The administrator's connection, with the credential of ``$SPLINTER_CREDENTIAL`` or of the instance.

        ``seconds`` is what each message may take.
        """
        credential = os.environ.get(_CREDENTIAL_VARIABLE)
        if not credential:
            if self.instance is None:
                raise SplinterError(f"a server elsewhere is administered with its credential in ${_CREDENTIAL_VARIABLE}")
            credential = instances.credential(self.instance)
        return Admin(self.address, credential, port=self.port, netns=self.netns, timeout=seconds)

    def _look_up_token(self, tenant: int, seconds: float | None) -> int:
        if self.instance is None and not os.environ.get(_CREDENTIAL_VARIABLE):
            raise SplinterError("a server elsewhere needs the tenant's --token")
        with self.admin(_ADMIN_SECONDS if seconds is None else seconds) as admin:
            return admin.get_tenant(tenant, token=True).token


def find_server(instance: str, address: str | None) -> Server:
    """The server of an instance name on this host, or at an address. Raises :class:`SplinterError`."""
    if address is not None:
        match = _ADDRESS.fullmatch(address)
        port = int(match[2] or limits.PORT_DEFAULT) if match else 0
        if match is None or len(match[1]) > _NAME_CHARACTERS_MAX or not 1 <= port <= _PORT_MAX:
            raise SplinterError(f"--address {address!r}: write IP or IP:PORT, an IPv4 address or a host's name")
        return Server(match[1], port, None, None)
    info = instances.read(instance)
    if info.trouble:
        complain(f"{info.trouble}: the server waits for it, and no request comes in")
    # With XDP only packets that arrive on the device count, so a client must stand on the other side of it.
    inside = info.netns if info.transport == "udp" else None
    return Server(info.address, info.port, info.client_netns or inside, instance)


def parse_token_text(token: str) -> int:
    """A token as the command line has it. Raises :class:`SplinterError` for what is none."""
    try:
        return parse_token(token)
    except ValueError:
        raise SplinterError("a token is up to 16 hexadecimal digits, as 'splinter tenant create' prints it") from None

"""``splinter ping``."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from splinter import limits
from splinter.cli.completion import complete_tenant
from splinter.cli.target import Address, Instance, Token, find_server
from splinter.errors import (
    ControlError,
    PermissionDeniedError,
    RequestTimeoutError,
    ServerError,
    SplinterError,
    UnknownTenantError,
    WrongTokenError,
)
from splinter.terminal import say

if TYPE_CHECKING:
    from splinter.client.admin import Admin, TenantInfo

_POLL_SECONDS = 0.1
_REQUEST_SECONDS_MAX, _REQUEST_SECONDS_MIN = 2.0, 0.05
_WAIT_SECONDS, _WAIT_SECONDS_MAX = 60.0, 86_400.0
_OF_PINGS = range(limits.TENANTS_MAX - 1, limits.TENANTS_MAX - 17, -1)  # numbers of the tenants that pings make for themselves
_LOOKS = 5  # for a tenant, while others remove what was found
_MILLISECONDS_PER_SECOND = 1e3

_Tenant = Annotated[
    int | None,
    typer.Option(
        "--tenant", "-t", envvar="SPLINTER_TENANT", help="Ask as this tenant; by default as any that the administrator finds.",
        min=1, max=limits.TENANTS_MAX - 1, autocompletion=complete_tenant,
    ),
]  # fmt: skip
_Wait = Annotated[bool, typer.Option("--wait", help="Until it answers: also while there is no server yet.")]


def _seconds(value: float) -> float:
    """Within bounds is also what cannot be compared with them."""
    if math.isnan(value):
        raise typer.BadParameter("not a number")
    return value


_Timeout = Annotated[
    float,
    typer.Option(
        min=_REQUEST_SECONDS_MIN, max=_WAIT_SECONDS_MAX, metavar="SECONDS", help="With --wait: for how long.", callback=_seconds
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(ping)


def ping(
    wait: _Wait = False,
    timeout: _Timeout = _WAIT_SECONDS,
    tenant: _Tenant = None,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Ask a server for a sign of life, on its control port and on the way of requests; exit status 0 when both answer.

    A worker answers the request, as any tenant's. Where the server has none without a limit of packets, one is made for it,
    with one of the highest numbers, and removed.

    Examples: 'splinter ping'; 'splinter ping --wait --timeout 30' in a script that has started a server.
    """
    deadline = time.monotonic() + timeout
    patience = _Patience(deadline if wait else math.inf)
    while True:
        try:
            control, request = _ask(instance, address, tenant, token, patience)
            break
        except (ControlError, RequestTimeoutError, ServerError) as error:
            is_final = isinstance(error, PermissionDeniedError) or (tenant is not None and isinstance(error, WrongTokenError))
            if not wait or is_final:
                raise
            if time.monotonic() + _POLL_SECONDS > deadline:
                raise RequestTimeoutError(f"no answer within {timeout:g} s; last: {error}") from None
        time.sleep(_POLL_SECONDS)
    say(f"control answers in {_milliseconds(control)}, requests in {_milliseconds(request)}")


@dataclass(frozen=True)
class _Patience:
    """``deadline`` (monotonic seconds) is of everything that is asked."""

    deadline: float

    def seconds(self) -> float:
        """For how long the next answer is waited for."""
        return min(_REQUEST_SECONDS_MAX, max(self.deadline - time.monotonic(), _REQUEST_SECONDS_MIN))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * _MILLISECONDS_PER_SECOND:.2f} ms"


def _ask(instance: str, address: str | None, tenant: int | None, token: str | None, patience: _Patience) -> tuple[float, float]:
    """Seconds that a message to the control port and a request to a worker took."""
    server = find_server(instance, address)
    began = time.monotonic()
    server.hello(patience.seconds())
    control = time.monotonic() - began
    if token is not None and tenant is None:
        raise SplinterError("a --token is of a --tenant: give both")
    if tenant is not None:
        with server.client(tenant, token, timeout=patience.seconds()) as client:
            return control, client.ping()
    with server.admin(patience.seconds()) as admin:
        for looks_left in reversed(range(_LOOKS)):
            try:
                with (
                    _some_tenant(admin, patience) as (number, secret),
                    server.client(number, secret, timeout=patience.seconds()) as client,
                ):
                    return control, client.ping()
            except (UnknownTenantError, WrongTokenError):  # others have removed it, or changed its token
                if not looks_left:
                    raise
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _some_tenant(admin: Admin, patience: _Patience) -> Iterator[tuple[int, str]]:
    """A tenant that there is, or one for the block, with its token.

    It has no limit of packets: one that is over its own is not answered, which says nothing of the server. And it is none that
    another ping has made for itself, and removes, while a number is left for one.
    """
    found = admin.list_tenants(tokens=True, timeout=patience.seconds())
    unlimited = [one for one in found if not one.packets_per_second]
    chosen = next((one for one in unlimited if one.tenant not in _OF_PINGS or one.quota_bytes), None)
    made = _make_tenant(admin, {one.tenant for one in found}, patience) if chosen is None else None
    chosen = next((one for one in (chosen, made, *unlimited, *found) if one is not None), None)
    if chosen is None:
        raise UnknownTenantError("other pings had a tenant for themselves, and have removed it")
    try:
        yield chosen.tenant, f"{chosen.token:x}"
    except BaseException:
        if made is not None:
            with contextlib.suppress(SplinterError):  # what came first is told
                admin.remove_tenant(made.tenant, timeout=patience.seconds())
        raise
    if made is not None:
        admin.remove_tenant(made.tenant, timeout=patience.seconds())


def _make_tenant(admin: Admin, there: set[int], patience: _Patience) -> TenantInfo | None:
    """One of a number that no other ping has, nor anybody else; None when there is none."""
    for number in _OF_PINGS:
        if number not in there:
            try:
                return admin.create_tenant(number, quota_bytes=0, timeout=patience.seconds())
            except ControlError as error:
                if error.code != "tenant_exists":
                    raise
    return None

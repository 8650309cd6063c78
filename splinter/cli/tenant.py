"""``splinter tenant``: create, list, limit, move, remove; tokens."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from splinter import limits
from splinter.cli.completion import complete_tenant
from splinter.cli.listing import AsJson, say_json, say_table
from splinter.cli.target import Address, Instance, find_server, parse_token_text
from splinter.cli.told import require_reader, spans, telling
from splinter.client.admin import TenantInfo
from splinter.client.arguments import RANGES
from splinter.client.encoding import format_token
from splinter.errors import SplinterError
from splinter.server.config import parse_bytes
from splinter.terminal import say

_TENANT_MAX, _HOME_MAX = RANGES["tenant"][1], RANGES["home"][1]
_TOLD = (  # of each tenant, to machines
    "tenant", "home", "quota_bytes", "bytes_used", "code_bytes", "clients", "staged_bytes", "objects", "packets_per_second",
    "packets_dropped", "durability", "eviction", "evictions",
)  # fmt: skip


def _limit(name: str, text: str) -> Any:
    least, most = RANGES[name]
    return typer.Option(min=least, max=most, help=text)


# The options of those commands that set limits.
_QUOTA = typer.Option(metavar="SIZE", help="Bytes it may store, such as 64MiB.")
_TASK_MS = _limit("task_milliseconds_max", "CPU time of one task in ms; 0: the server's limit.")
_TASK_WALL_MS = _limit("task_wall_milliseconds_max", "Time of one task, its waits included, in ms; 0: the server's limit.")
_TASK_YIELDS = _limit("task_yields_max", "Yields of one task; 0: the server's limit.")
_DURABILITY = typer.Option(
    metavar="MODE",
    help="none, interval (a crash of the machine loses at most the last second) or always, of a server with --data.",
)
_EVICTION = typer.Option(
    metavar="POLICY", help="none (a put over the quota is refused) or hyperbolic (what is used least makes room for it)."
)
_PACKETS = _limit("packets_per_second", "Packets above this are dropped; 0: no limit.")

app = typer.Typer(
    help="Create, list, limit, move and remove tenants, change their tokens (for the administrator).", no_args_is_help=True
)
_Tenant = Annotated[int, typer.Argument(min=1, max=_TENANT_MAX, help="Tenant id.", autocompletion=complete_tenant)]


@app.command()
def create(
    tenant: Annotated[
        int | None, typer.Option("--tenant", "-t", min=1, max=_TENANT_MAX, help="Id; by default the lowest free.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=_TENANT_MAX, help="How many to create.")] = 1,
    quota: Annotated[str | None, _QUOTA] = None,
    home: Annotated[int | None, typer.Option(min=0, max=_HOME_MAX, help="Core slot; by default id modulo cores.")] = None,
    task_ms: Annotated[int, _TASK_MS] = 0,
    task_wall_ms: Annotated[int, _TASK_WALL_MS] = 0,
    task_yields: Annotated[int, _TASK_YIELDS] = 0,
    packets_per_second: Annotated[int, _PACKETS] = 0,
    durability: Annotated[str | None, _DURABILITY] = None,
    eviction: Annotated[str | None, _EVICTION] = None,
    token: Annotated[
        str | None, typer.Option(metavar="HEX", help="Its token, 16 hexadecimal digits; by default random.")
    ] = None,
    as_json: AsJson = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Create tenants and print each with its token: 'TENANT TOKEN'.

    Example: splinter tenant create --tenant 7 --quota 64MiB
    """
    if tenant is not None and count != 1:
        raise typer.BadParameter("--tenant and --count exclude each other")
    if token is not None and count != 1:
        raise typer.BadParameter("--token and --count exclude each other")
    quota_bytes = _parse_quota(quota)
    more_limits = {
        "task_milliseconds_max": task_ms,
        "task_wall_milliseconds_max": task_wall_ms,
        "task_yields_max": task_yields,
        "packets_per_second": packets_per_second,
    }
    require_reader()
    with find_server(instance, address).admin() as admin:
        if count == 1:
            chosen = parse_token_text(token) if token is not None else None
            info = admin.create_tenant(
                tenant,
                quota_bytes=quota_bytes,
                home=home,
                durability=durability,
                eviction=eviction,
                token=chosen,
                **more_limits,
            )
            created = [info]
        else:
            created = admin.create_tenants(
                count, quota_bytes=quota_bytes, home=home, durability=durability, eviction=eviction, **more_limits
            )
    ids = spans(item.tenant for item in created)
    what = f"tenant {ids} was created; 'splinter tenant token {ids}' shows its token"
    if len(created) > 1:
        what = f"tenants {ids} were created; 'splinter tenant list --tokens' shows their tokens"
    with telling(what):
        if as_json:
            say_json([_plain(item, with_token=True) for item in created])
            return
        for item in created:
            say(f"{item.tenant} {format_token(item.token)}")


@app.command("list")
def list_tenants(
    tokens: Annotated[bool, typer.Option("--tokens", help="Show the secrets.")] = False,
    as_json: AsJson = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """List all tenants with their use of memory."""
    with find_server(instance, address).admin() as admin:
        found = admin.list_tenants(tokens=tokens)
    if as_json:
        say_json([_plain(item, with_token=tokens) for item in found])
        return
    evicts = any(item.eviction != "none" for item in found)
    is_kept = any(item.durability != "none" for item in found)  # else there may be no data folder
    heads = ["tenant", "home", "objects", "bytes", "of code", "clients", "staged", "quota", "packets/s", "dropped"]
    heads += [*(["durability"] if is_kept else []), *(["evicted"] if evicts else []), *(["token"] if tokens else [])]
    rows = []
    for item in found:
        quota = "none" if item.quota_bytes == limits.TENANT_QUOTA_BYTES_DEFAULT else f"{item.quota_bytes:,}"
        rate = f"{item.packets_per_second:,}" if item.packets_per_second else "any"
        row = [str(item.tenant), str(item.home), f"{item.objects:,}", f"{item.bytes_used:,}"]
        row += [f"{item.code_bytes:,}", f"{item.clients:,}", f"{item.staged_bytes:,}", quota]
        row += [rate, f"{item.packets_dropped:,}", *([item.durability] if is_kept else [])]
        row += [f"{item.evictions:,}" if item.eviction != "none" else "never"] if evicts else []
        rows.append([*row, *(["\n".join(_tokens(item))] if tokens else [])])
    say_table(heads, rows, keeps="token")


@app.command()
def limit(
    tenant: _Tenant,
    quota: Annotated[str | None, _QUOTA] = None,
    task_ms: Annotated[int | None, _TASK_MS] = None,
    task_wall_ms: Annotated[int | None, _TASK_WALL_MS] = None,
    task_yields: Annotated[int | None, _TASK_YIELDS] = None,
    packets_per_second: Annotated[int | None, _PACKETS] = None,
    durability: Annotated[str | None, _DURABILITY] = None,
    eviction: Annotated[str | None, _EVICTION] = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Change a tenant's limits, its durability and eviction; what is not named stays.

    Examples: splinter tenant limit 7 --packets-per-second 10000; splinter tenant limit 7 --quota 64MiB --eviction hyperbolic
    """
    with find_server(instance, address).admin() as admin:
        admin.limit_tenant(
            tenant,
            quota_bytes=_parse_quota(quota),
            task_milliseconds_max=task_ms,
            task_wall_milliseconds_max=task_wall_ms,
            task_yields_max=task_yields,
            packets_per_second=packets_per_second,
            durability=durability,
            eviction=eviction,
        )


@app.command()
def move(
    tenant: _Tenant,
    core: Annotated[int, typer.Argument(min=0, max=_HOME_MAX, help="Core slot: place in the server's list of cores, from 0.")],
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Let another core serve a tenant, while it is being served.

    Example: splinter tenant move 7 1
    """
    with find_server(instance, address).admin() as admin:
        admin.move_tenant(tenant, core)


@app.command()
def token(
    tenant: _Tenant,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Print a tenant's token, and on a second line the former one while that is still valid.

    Example: splinter tenant token 7
    """
    with find_server(instance, address).admin() as admin:
        for text in _tokens(admin.get_tenant(tenant, token=True)):
            say(text)


@app.command()
def rotate(
    tenant: _Tenant,
    new: Annotated[
        str | None, typer.Option("--token", metavar="HEX", help="The new token, 16 hexadecimal digits; by default random.")
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The old token is not valid any more: for one that others know.")
    ] = False,
    finish: Annotated[bool, typer.Option("--finish", help="End a change: the old token is not valid any more.")] = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Give a tenant a new token and print it. The old one stays valid until 'rotate --finish'.

    Examples: splinter tenant rotate 7, then, when all clients have the new one, splinter tenant rotate 7 --finish
    """
    if finish and (at_once or new is not None):
        raise typer.BadParameter("--finish excludes --token and --at-once")
    if not finish:
        require_reader()
    with find_server(instance, address).admin() as admin:
        if finish:
            admin.finish_rotation(tenant)
            return
        made = admin.rotate_token(tenant, parse_token_text(new) if new is not None else None, at_once=at_once)
    with telling(f"the token of tenant {tenant} was changed; 'splinter tenant token {tenant}' shows the new one"):
        say(format_token(made.token))


def _tokens(info: TenantInfo) -> list[str]:
    """The token, and the former one while that is valid."""
    return [format_token(token) for token in (info.token, info.former_token) if token]


@app.command()
def remove(
    tenant: _Tenant,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Remove a tenant with its objects and extensions.

    Example: splinter tenant remove 7
    """
    with find_server(instance, address).admin() as admin:
        admin.remove_tenant(tenant)


def _parse_quota(text: str | None) -> int | None:
    size = parse_bytes(text) if text is not None else None
    if size is not None and size > limits.TENANT_QUOTA_BYTES_DEFAULT:
        raise SplinterError(f"quota {text!r}: at most {limits.TENANT_QUOTA_BYTES_DEFAULT >> 30}GiB, which is as good as none")
    return size


def _plain(item: TenantInfo, *, with_token: bool) -> dict[str, int | str]:
    fields: dict[str, int | str] = {name: getattr(item, name) for name in _TOLD}
    names = ("token", "former_token")  # the second one while it is valid
    return fields | (dict(zip(names, _tokens(item), strict=False)) if with_token else {})

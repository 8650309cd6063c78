"""What shells complete: names of instances, ids of tenants, names of extensions. Whatever fails completes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import typer

from splinter.server import instance as instances

_SECONDS = 1.0  # that somebody at a prompt may wait for a server
_DEFAULT_INSTANCE = "default"


def complete_instance(incomplete: str) -> list[str]:
    """Servers of this host."""
    with contextlib.suppress(Exception):
        return _beginning(incomplete, (path.name for path in instances.run_root().iterdir() if (path / "server.json").exists()))
    return []


def complete_tenant(context: typer.Context, incomplete: str) -> list[str]:
    """Tenants of the server that the command names so far, for its owner."""
    from splinter.cli.target import find_server

    with contextlib.suppress(Exception):
        server = find_server(context.params.get("instance") or _DEFAULT_INSTANCE, context.params.get("address"))
        with server.admin(_SECONDS) as admin:
            return _beginning(incomplete, (str(each.tenant) for each in admin.list_tenants(timeout=_SECONDS)))
    return []


def complete_extension(context: typer.Context, incomplete: str) -> list[str]:
    """Extensions of the tenant that the command names so far."""
    from splinter.cli.target import find_server

    with contextlib.suppress(Exception):
        server = find_server(context.params.get("instance") or _DEFAULT_INSTANCE, context.params.get("address"))
        tenant, token = context.params.get("tenant"), context.params.get("token")
        if tenant is None:
            return []
        with server.client(tenant, token, timeout=_SECONDS) as client:
            return _beginning(incomplete, (each.signature.name for each in client.extensions(timeout=_SECONDS)))
    return []


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))

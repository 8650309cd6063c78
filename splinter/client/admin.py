"""Administration: tenants and statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from splinter import limits
from splinter.client.arguments import check_integer, check_integers, check_those_given, check_timeout
from splinter.client.control import ControlConnection, understood
from splinter.client.dump import Dump
from splinter.client.encoding import parse_token
from splinter.client.process import ProcessOwn
from splinter.client.restore import Into, Restore, Restored


@dataclass(frozen=True)
class TenantInfo:
    """A tenant. ``token`` is 0 where it was not asked for, as is ``former_token``, which is valid beside it while a change has
    not been finished, else 0; usage is 0 in the answer to a creation; sizes in bytes.

    ``task_yields_max``, ``task_milliseconds_max`` (CPU time) and ``task_wall_milliseconds_max`` (time since it came, waits
    included) are what one of its tasks may use; 0: the server's limits hold.
    ``packets_per_second``: what comes faster is dropped, and counted in ``packets_dropped``; 0: no limit.
    ``bytes_used`` is charged to the quota: objects, records of ``clients`` (2 KiB each) and of extensions, machine code
    and what extensions take in the kernel (``code_bytes`` are both). ``staged_bytes``, large values that are not whole yet,
    come on top. ``durability``: "none", "interval" or "always" (``docs/how-to/data.md``). ``eviction``: "none" or "hyperbolic":
    what is used least makes room for others (``docs/how-to/cache.md``); ``evictions``: objects that did.
    """

    tenant: int
    token: int
    home: int
    quota_bytes: int = limits.TENANT_QUOTA_BYTES_DEFAULT
    task_yields_max: int = 0
    task_milliseconds_max: int = 0
    task_wall_milliseconds_max: int = 0
    packets_per_second: int = 0
    bytes_used: int = 0
    code_bytes: int = 0
    staged_bytes: int = 0
    clients: int = 0
    objects: int = 0
    packets_dropped: int = 0
    former_token: int = 0
    durability: str = "none"
    eviction: str = "none"
    evictions: int = 0


class Admin(ProcessOwn):
    """The administrator's side of the control plane.

    ``credential`` is the text in the server's ``admin.key`` (:func:`splinter.server.instance.credential`). ``netns``
    names the network namespace to connect from. ``timeout`` is in seconds, for each message; every method takes another one
    for its own. Every method raises :class:`splinter.errors.PermissionDeniedError` when
    the credential is wrong and :class:`splinter.errors.ControlError` when the server refuses or cannot be reached. An argument
    that cannot be what it should is a ``ValueError`` or ``TypeError``, and nothing is sent.
    """

    def __init__(
        self,
        address: str,
        credential: str,
        *,
        port: int = limits.PORT_DEFAULT,
        netns: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._connection = ControlConnection(address, check_integer("port", port), netns=netns, timeout=check_timeout(timeout))
        self._credential = credential

    def create_tenant(
        self,
        tenant: int | None = None,
        *,
        quota_bytes: int | None = None,
        home: int | None = None,
        task_yields_max: int = 0,
        task_milliseconds_max: int = 0,
        task_wall_milliseconds_max: int = 0,
        packets_per_second: int = 0,
        durability: str | None = None,
        eviction: str | None = None,
        token: int | str | None = None,
        timeout: float | None = None,
    ) -> TenantInfo:
        """Create a tenant: the given id, or the lowest free one. ``home`` is a core slot, by default id mod cores.

        The task limits are what one invocation may use in all; 0: the server's limits. Packets that come faster than
        ``packets_per_second`` are dropped; 0: no limit. ``durability``: "none", "interval" or "always", on a server with a data
        folder; None: what that server does by default. ``eviction``: "hyperbolic": a put over the quota evicts what is used
        least; "none": it is refused. ``token``: None: a random one.
        """
        reply = self._request(
            "tenant.create",
            timeout,
            **check_those_given(tenant=tenant, quota_bytes=quota_bytes, home=home),
            **({} if token is None else {"token": parse_token(token)}),
            **_modes(durability, eviction),
            **check_integers(
                task_yields_max=task_yields_max,
                task_milliseconds_max=task_milliseconds_max,
                task_wall_milliseconds_max=task_wall_milliseconds_max,
                packets_per_second=packets_per_second,
            ),
        )
        return _tenants(reply, least=1)[0]

    def create_tenants(
        self,
        count: int,
        *,
        quota_bytes: int | None = None,
        home: int | None = None,
        task_yields_max: int = 0,
        task_milliseconds_max: int = 0,
        task_wall_milliseconds_max: int = 0,
        packets_per_second: int = 0,
        durability: str | None = None,
        eviction: str | None = None,
        timeout: float | None = None,
    ) -> list[TenantInfo]:
        """Create ``count`` tenants with the lowest free ids, all of them or none; the rest as in :meth:`create_tenant`."""
        reply = self._request(
            "tenant.create",
            timeout,
            **check_those_given(quota_bytes=quota_bytes, home=home),
            **_modes(durability, eviction),
            **check_integers(
                count=count,
                task_yields_max=task_yields_max,
                task_milliseconds_max=task_milliseconds_max,
                task_wall_milliseconds_max=task_wall_milliseconds_max,
                packets_per_second=packets_per_second,
            ),
        )
        created = _tenants(reply, least=1)
        with understood():
            missing = set(reply["ids"][len(created) :])  # more than one message tells
        if missing:
            listed = self._list(min(missing), tokens=True, timeout=timeout)
            created += [replace(item, bytes_used=0, objects=0) for item in listed if item.tenant in missing]
        return created

    def list_tenants(self, *, tokens: bool = False, timeout: float | None = None) -> list[TenantInfo]:
        """All tenants by id; with ``tokens`` their secrets too."""
        return self._list(0, tokens=tokens, timeout=timeout)

    def _list(self, first: int, *, tokens: bool, timeout: float | None) -> list[TenantInfo]:
        found: list[TenantInfo] = []
        start: int | None = first
        while start is not None:
            reply = self._request("tenant.list", timeout, start=start, tokens=tokens)
            found += _tenants(reply)
            start = reply.get("next")
        return found

    def get_tenant(self, tenant: int, *, token: bool = False, timeout: float | None = None) -> TenantInfo:
        """One tenant. Raises :class:`splinter.errors.UnknownTenantError` when there is none of this id."""
        reply = self._request("tenant.list", timeout, **check_integers(tenant=tenant), tokens=token)
        return _tenants(reply, least=1)[0]

    def limit_tenant(
        self,
        tenant: int,
        *,
        quota_bytes: int | None = None,
        task_yields_max: int | None = None,
        task_milliseconds_max: int | None = None,
        task_wall_milliseconds_max: int | None = None,
        packets_per_second: int | None = None,
        durability: str | None = None,
        eviction: str | None = None,
        timeout: float | None = None,
    ) -> TenantInfo:
        """Change limits of a tenant, its durability and eviction; what is None stays. They hold from its next packet or task
        on. Returns the tenant."""
        reply = self._request(
            "tenant.limit",
            timeout,
            **_modes(durability, eviction),
            tenant=check_integer("tenant", tenant),
            **check_those_given(
                quota_bytes=quota_bytes,
                task_yields_max=task_yields_max,
                task_milliseconds_max=task_milliseconds_max,
                task_wall_milliseconds_max=task_wall_milliseconds_max,
                packets_per_second=packets_per_second,
            ),
        )
        return _tenants(reply, least=1)[0]

    def move_tenant(self, tenant: int, home: int, *, timeout: float | None = None) -> None:
        """Let another core slot serve a tenant, from its next packet on. No request is lost."""
        self._request("tenant.move", timeout, **check_integers(tenant=tenant, home=home))

    def rotate_token(
        self, tenant: int, token: int | str | None = None, *, at_once: bool = False, timeout: float | None = None
    ) -> TenantInfo:
        """Give a tenant a new token, ``token`` or a random one. The old one is valid as well until :meth:`finish_rotation`, or
        no longer with ``at_once``. Raises :class:`splinter.errors.ControlError` when an earlier change was not finished."""
        numbers = {**check_integers(tenant=tenant), **({} if token is None else {"token": parse_token(token)})}
        reply = self._request("tenant.rotate", timeout, **numbers, at_once=at_once)
        return _tenants(reply, least=1)[0]

    def finish_rotation(self, tenant: int, *, timeout: float | None = None) -> TenantInfo:
        """End the change of a tenant's token: the old one is not valid any more."""
        reply = self._request("tenant.rotate", timeout, **check_integers(tenant=tenant), finish=True)
        return _tenants(reply, least=1)[0]

    def remove_tenant(self, tenant: int, *, timeout: float | None = None) -> None:
        """Remove a tenant, its objects and its extensions. Requests of its clients are dropped from then on."""
        self._request("tenant.remove", timeout, **check_integers(tenant=tenant))

    def release_extension(self, tenant: int, name: str, *, timeout: float | None = None) -> None:
        """End the quarantine of an extension that had workers killed."""
        self._request("extension.release", timeout, **check_integers(tenant=tenant), name=name)

    def stats(self, *, every: bool = False, timeout: float | None = None) -> dict[str, Any]:
        """Counters of workers, XDP program, store and control plane (``docs/reference/protocol.md`` lists them).

        Of tenants and extensions those that used most time, or with ``every`` up to 2,048 of them."""
        reply = self._request("stats", timeout, every=True if every else None)
        with understood():
            return dict(reply["stats"])

    def events(self, after: int | None = None, *, count: int = 256, timeout: float | None = None) -> dict[str, Any]:
        """What happened after a number, or all that is kept: ``events``, at most ``count`` (256 at most), ``next`` for the
        following call, ``missed``: how many are kept no more, ``newest``, ``server``: which server's numbers these are."""
        numbers = {**check_integers(count=count), **check_those_given(after=after)}
        return self._request("events", timeout, **numbers)

    def begin_backup(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Have the server leave the files of its log and snapshots where they are: ``number`` of the backup, ``folder`` (of the
        server), ``identity``. It does so for a minute after each :meth:`hold_backup`, and for 5 s after the end of the
        connection that was used for it. ``splinter backup`` does all of it."""
        return self._request("backup.begin", timeout)

    def hold_backup(self, number: int, *, timeout: float | None = None) -> dict[str, Any]:
        """Go on with a backup: ``group`` is the log's last one that it needs, None as long as not all that was acknowledged
        before is on the disk; ``snapshot``: the log's first group behind the newest snapshot, or None. Raises
        :class:`splinter.errors.ControlError` when files may have been removed."""
        return self._request("backup.hold", timeout, **check_integers(number=number))

    def end_backup(self, number: int, *, timeout: float | None = None) -> None:
        """End a backup: files may be removed again."""
        self._request("backup.end", timeout, **check_integers(number=number))

    def dump(self, tenant: int | None = None, *, with_tokens: bool = False, timeout: float | None = None) -> Dump:
        """All of a tenant, or (None) of all tenants, while they are served: an iterable of pieces of whole lines
        (``docs/reference/dump-format.md``), with counts of what there was. ``timeout`` is for each message."""
        return Dump(self._asking(timeout), tenant, with_tokens=with_tokens)

    def restore(
        self,
        pieces: Iterable[bytes],
        *,
        tenant: int | None = None,
        to: int | None = None,
        into: Into | str = "empty",
        token: int | str | None = None,
        durability: str | None = None,
        done: Restored | None = None,
        timeout: float | None = None,
    ) -> Restored:
        """Put back a dump: a file that was opened in binary, or what :meth:`dump` of another server gives. Tenants that are
        missing are created.

        ``tenant``: only this one of the dump; ``to``: under this id; ``into``: what a tenant that is there may have, by default
        no objects; ``token``, ``durability``: of a tenant that is created, in place of those in the dump (None: those, or a
        random token). Raises :class:`splinter.errors.DumpError` where the dump is damaged or cut. What was put before stays:
        ``done``, which is returned, is filled as it goes.
        """
        request = self._asking(timeout)
        return Restore(request, tenant=tenant, to=to, into=into, token=token, durability=durability, done=done).run(pieces)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _asking(self, timeout: float | None) -> Callable[..., dict[str, Any]]:
        """What makes requests of an operation's name and fields, each with this time-out."""
        seconds = None if timeout is None else check_timeout(timeout)
        return lambda op, **fields: self._request(op, seconds, **fields)

    def _request(self, op: str, timeout: float | None, **fields: Any) -> dict[str, Any]:
        seconds = None if timeout is None else check_timeout(timeout)
        return self._connection.request(op, seconds=seconds, credential=self._credential, **fields)


def _tenants(reply: dict[str, Any], least: int = 0) -> list[TenantInfo]:
    """The tenants of a reply, which has ``least`` or more."""
    with understood():
        found = [TenantInfo(**fields) for fields in reply["tenants"]]
        if len(found) < least:
            raise ValueError(f"{len(found)} tenants in place of {least}")
        return found


def _modes(durability: str | None, eviction: str | None) -> dict[str, str]:
    return {name: value for name, value in (("durability", durability), ("eviction", eviction)) if value is not None}

"""The events of administrative acts: what changed, told once it has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from splinter.server.events import event

_log = logging.getLogger(__name__)
_KINDS = {
    "tenant.create": "tenant.created", "tenant.remove": "tenant.removed", "tenant.move": "tenant.moved",
    "tenant.limit": "tenant.limited", "tenant.rotate": "tenant.rotated", "extension.install": "extension.installed",
    "extension.uninstall": "extension.removed", "extension.release": "extension.released",
}  # fmt: skip


def tell(request: dict[Any, Any], reply: dict[str, Any], generation_before: int, generation: Callable[[int], int]) -> None:
    """An operation was done with this reply. ``generation_before``: of the request's tenant when it began; ``generation`` tells
    that of any tenant now."""
    op = request["op"]
    kind = _KINDS.get(op)
    if kind is None:
        return
    tenant = request.get("tenant") or 0
    if op == "tenant.create":
        ids = reply["ids"]
        if len(ids) == 1:
            _log.info("tenant %d was created", ids[0], extra=event(kind, ids[0], generation(ids[0])))
        else:
            told = event(kind, count=len(ids), first=min(ids), last=max(ids))
            _log.info("%d tenants were created, from %d to %d", len(ids), min(ids), max(ids), extra=told)
    elif op == "extension.install":
        for each in reply["extensions"]:
            fields = {name: each[name] for name in ("name", "version", "place")}
            told = event(kind, tenant, generation_before, **fields)
            _log.info("extension %r of tenant %d: version %d was installed", each["name"], tenant, each["version"], extra=told)
    elif op.startswith("extension."):
        verb = kind.partition(".")[2]
        told = event(kind, tenant, generation_before, name=request["name"])
        _log.info("extension %r of tenant %d was %s", request["name"], tenant, verb, extra=told)
    else:
        fields = {name: request[name] for name in ("home", "finish", "at_once") if request.get(name) is not None}
        verb = {"tenant.rotate": "got another token, or finished its change"}.get(op, f"was {kind.partition('.')[2]}")
        _log.info("tenant %d %s", tenant, verb, extra=event(kind, tenant, generation_before, **fields))

"""Who did what to the server: one line of the log for each administrative act, refused ones too.

A line tells the actor, the address, the operation, the fields that say what was done, and the outcome. Fields are told by name:
a token, a credential, a source is none of them. Strangers can send as much as they like, so their refusals are bounded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from splinter.server.control.places import Rank
from splinter.server.logs import AUDIT

STRANGERS_PER_SECOND = 10  # lines about refused strangers; the rest is counted
ACTS = frozenset(
    ("tenant.create", "tenant.limit", "tenant.move", "tenant.remove", "tenant.rotate",
     "extension.install", "extension.uninstall", "extension.release", "backup.begin", "backup.end",
     "dump.begin", "restore.begin")
)  # fmt: skip
TOLD = (
    "tenant", "count", "home", "name", "names", "every", "finish", "at_once", "tokens", "quota_bytes", "task_yields_max",
    "task_milliseconds_max", "task_wall_milliseconds_max", "packets_per_second", "durability", "eviction", "replace",
)  # fmt: skip
_TEXT_CHARACTERS_MAX = 64
_REFUSED = ("permission_denied", "token_retired", "tenant_removed")
Who = tuple[Rank, int] | None


class Audit:
    """Writes the lines of one control process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second, self._told, self._untold = 0, 0, 0

    def note(self, request: dict[Any, Any], who: Who, address: str | None, outcome: str) -> None:
        """An operation has ended: ``outcome`` is ``ok``, or the code of the error. What is no act, and was not refused for lack
        of rights, is not told."""
        op = request.get("op")
        is_act = isinstance(op, str) and (op in ACTS or (op == "tenant.list" and request.get("tokens") is True))
        if not is_act and outcome not in _REFUSED:
            return
        if who is None and not self._may_tell():
            return
        fields = "".join(f" {name}={_shown(request[name])}" for name in TOLD if request.get(name) is not None)
        untold, self._untold = self._untold, 0
        more = f" (and {untold} refusals of strangers before, not told)" if untold else ""
        log = AUDIT.info if outcome == "ok" else AUDIT.warning
        log("audit: %s from %s: %s%s: %s%s", _actor(who), address or "an unknown address", _shown(op), fields, outcome, more)

    def _may_tell(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        self._untold += self._told > STRANGERS_PER_SECOND
        return self._told <= STRANGERS_PER_SECOND


def _actor(who: Who) -> str:
    if who is None:
        return "a stranger"
    rank, tenant = who
    return "administrator" if rank is Rank.ADMINISTRATOR else f"tenant {tenant}"


def _shown(value: Any) -> str:
    """A field as one word that cannot be taken for another field."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ",".join(value[:_TEXT_CHARACTERS_MAX])
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    return json.dumps(value[:_TEXT_CHARACTERS_MAX] + ("…" if len(value) > _TEXT_CHARACTERS_MAX else ""))

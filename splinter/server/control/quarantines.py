"""Tells of extensions that are refused from now on, as they had too many workers killed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from splinter.server.control.registry import Registry
from splinter.server.events import EventLog, event

_log = logging.getLogger(__name__)
_KIND = "extension.quarantined"
_ENDS = ("extension.installed", "extension.released", "extension.removed")


class Quarantines:
    """Tells of each once, whatever becomes of the control process: what was told before stands in the log of events."""

    def __init__(self, registry: Registry, generation: Callable[[int], int], events: EventLog, after: int) -> None:
        """``after``: workers killed until an extension is refused; ``generation`` of a tenant now."""
        self._registry, self._generation, self.after = registry, generation, after
        self._told: set[tuple[int, str]] = set()
        for one in events.read(None, 1 << 30)["events"]:
            place = one["tenant"], one["fields"].get("name", "")
            if one["kind"] == _KIND:
                self._told.add(place)
            elif one["kind"] in _ENDS:
                self._told.discard(place)

    def look(self) -> None:
        """See which there are now."""
        found = self._registry.killers(self.after)
        for tenant, name in sorted(found - self._told):
            told = event(_KIND, tenant, self._generation(tenant), name=name)
            _log.warning("extension %r of tenant %d is refused: it had %d workers killed", name, tenant, self.after, extra=told)
        self._told = found

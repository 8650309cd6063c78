"""The control plane's part of ``splinter backup``: log and snapshots stay as they are (:mod:`splinter.durable.disk_state`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from splinter import limits
from splinter.client.arguments import RANGES
from splinter.errors import ControlError
from splinter.server.control import fields
from splinter.server.shared import Kept, Shared

_Handler = Callable[[dict[Any, Any]], Awaitable[dict[str, Any]]]


class Backups:
    """Operations by their names. ``require_administrator`` raises for a request of anybody else."""

    def __init__(self, shared: Shared, require_administrator: Callable[[dict[Any, Any]], None]) -> None:
        self._shared, self._require_administrator = shared, require_administrator
        self._holder: asyncio.Task[Any] | None = None  # the connection by which a backup was heard of last
        self._held = 0  # its number
        self.handlers: dict[str, _Handler] = {
            "backup.begin": self._backup_begin,
            "backup.hold": self._backup_hold,
            "backup.end": self._backup_end,
        }

    async def _backup_begin(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Have log and snapshots stay where they are for a backup, as long as ``backup.hold`` comes each minute by a connection
        that stays."""
        self._require_administrator(request)
        data = self._require_data()
        number = data.disk.begin_hold(limits.BACKUP_HOLD_SECONDS)
        if number is None:
            raise ControlError("another backup is under way, or has just died: try again", "backup_refused")
        self._follow(number)
        return {"number": number, "folder": str(data.folder.path), "identity": data.folder.catalog.identity}

    async def _backup_hold(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Hold on; tell which group and snapshot have all that was acknowledged before, once they are on the disk."""
        self._require_administrator(request)
        number = fields.integer(request, "number", *RANGES["number"])
        data = self._require_data()
        if not data.disk.renew_hold(number, limits.BACKUP_HOLD_SECONDS):
            raise ControlError("this backup was not heard of for too long, or was ended", "backup_refused")
        self._follow(number)
        group, snapshot = data.disk.answer(number) or (None, None)
        return {"group": group, "snapshot": snapshot}

    async def _backup_end(self, request: dict[Any, Any]) -> dict[str, Any]:
        """End a backup's hold."""
        self._require_administrator(request)
        self._require_data().disk.end_hold(fields.integer(request, "number", *RANGES["number"]))
        return {}

    def _follow(self, number: int) -> None:
        """Who asks holds by this connection: when that ends, by a death for one, so does the hold, soon."""
        self._held, holder = number, asyncio.current_task()
        if holder is not None and holder is not self._holder:
            self._holder = holder
            holder.add_done_callback(self._connection_ended)

    def _connection_ended(self, connection: asyncio.Task[Any]) -> None:
        if connection is self._holder:
            self._holder = None
            self._require_data().disk.shorten_hold(self._held, limits.BACKUP_GRACE_SECONDS)

    def _require_data(self) -> Kept:
        if self._shared.data is None:
            raise ControlError("the server has no data folder: name one with --data", "no_data_folder")
        return self._shared.data

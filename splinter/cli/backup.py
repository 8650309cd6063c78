"""``splinter backup``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splinter import limits
from splinter.cli.progress import shown
from splinter.cli.target import Instance, find_server
from splinter.cli.told import telling
from splinter.client.admin import Admin
from splinter.errors import ServerError
from splinter.terminal import say

if TYPE_CHECKING:
    from splinter.durable.backup import Held

_HOLD_SECONDS = 2.0  # between two signs of life
_POLL_SECONDS = 0.02
_MIB = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(backup)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one, for the copy.")],
    instance: Instance = "default",
) -> None:
    """Copy a server's data folder while it serves: 'splinter serve --data DIR' starts from the copy.

    It has every write that was acknowledged before, is verified, and gets its name when all of it is on the disk. Run it on the
    server's host, as the server's user.

    Example: splinter backup /mnt/backup/2026-11-29
    """
    from splinter.durable.backup import Backup, Progress  # the compiled code of checksums

    began = time.monotonic()
    with find_server(instance, None).admin() as admin, _held(admin) as (number, held):
        sign = _SignOfLife(admin, number)
        with shown("copying, verifying") as show:

            def tell(done: int, total: int) -> None:
                sign.give()
                show(done, total, f"{done / _MIB:,.0f} of {total / _MIB:,.0f} MiB")

            size = Backup(held, folder, Progress(tell, lambda: sign.give(is_due=True))).make()
    with telling(f"the backup in {folder} was made all the same"):
        say(f"copied {held.folder} to {folder}: {size / _MIB:,.1f} MiB, verified, in {time.monotonic() - began:.1f} s")


class _SignOfLife:
    """Tells the server that the backup goes on. Raises :class:`splinter.errors.ControlError` when files may have gone."""

    def __init__(self, admin: Admin, number: int) -> None:
        self._admin, self._number, self._next = admin, number, 0.0

    def give(self, *, is_due: bool = False) -> None:
        """Tell it now, if it is time."""
        if is_due or time.monotonic() >= self._next:
            self._admin.hold_backup(self._number)
            self._next = time.monotonic() + _HOLD_SECONDS


@contextlib.contextmanager
def _held(admin: Admin) -> Iterator[tuple[int, Held]]:
    """Have the files stay where they are for the block: the backup's number, and what it is to copy."""
    from splinter.durable.backup import Held, kept_tenants

    where = admin.begin_backup()
    admin.end_backup(int(where["number"]))
    folder = Path(where["folder"])
    if not folder.is_dir():
        raise ServerError(f"the server's data folder {folder} is not to be seen here: does it run in a container?")
    kept = kept_tenants(folder)  # before the files stay where they are: what becomes void from then on is seen
    told = admin.begin_backup()
    number, deadline = int(told["number"]), time.monotonic() + limits.BACKUP_ANSWER_SECONDS
    try:
        while (answer := admin.hold_backup(number))["group"] is None:
            if time.monotonic() > deadline:
                raise ServerError("the server's disk does not catch up: see 'durability' in 'splinter stats'")
            time.sleep(_POLL_SECONDS)
        yield number, Held(folder, told["identity"], answer["group"], answer["snapshot"], kept)
    finally:
        with contextlib.suppress(Exception):  # it ends by itself
            admin.end_backup(number)

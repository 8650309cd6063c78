"""What servers of tests may leave pinned: those that were killed do, and so would tests that fail."""

from __future__ import annotations

import contextlib
import re

from splinter.errors import ServerError
from splinter.net.bpf.pins import PinsUnavailableError, instances
from splinter.server.purge import purge
from tests.support.waiting import wait_for

_GONE_SECONDS = 20.0  # until a server that was killed is gone


def pinned(name: str) -> list[str]:
    """Instances of which something is pinned, of this name or of one that begins with it and goes on with no digit of it."""
    end = r"(?!\d)" if name[-1].isdigit() else ""
    with contextlib.suppress(PinsUnavailableError):
        return [found for found in instances() if re.match(re.escape(name) + end, found)]
    return []


def purge_all(name: str) -> None:
    """Remove what they have left, once their processes are gone."""

    def is_purged(instance: str) -> bool:
        with contextlib.suppress(ServerError):
            purge(instance)
            return True
        return False

    for instance in pinned(name):
        wait_for(lambda instance=instance: is_purged(instance), _GONE_SECONDS, f"the end of {instance}")

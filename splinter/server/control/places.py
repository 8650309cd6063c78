"""Places for control connections: whoever is nobody yet cannot take those of tenants, nor these the administrator's.

There are three *ranks*, each with places of its own: strangers, tenants, the administrator. Where a place lacks, a connection
of whoever has most of them gives way, the one that has been idle longest; so one address, or one tenant, that opens many
connections ends its own. A connection that is being served gives way only where all of theirs are, and to somebody who has
fewer: else a few tenants with a long request on each connection, or many one after the other, would keep the others out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from splinter import limits


class Rank(Enum):
    """Whose a connection is."""

    STRANGER = "stranger"
    TENANT = "tenant"
    ADMINISTRATOR = "administrator"


def places_of(rank: Rank) -> int:
    """How many connections of a rank there may be."""
    return {
        Rank.STRANGER: limits.CONTROL_STRANGERS_MAX,
        Rank.TENANT: limits.CONTROL_CONNECTIONS_MAX,
        Rank.ADMINISTRATOR: limits.CONTROL_ADMINISTRATORS_MAX,
    }[rank]


@dataclass(eq=False)
class Place:
    """A connection's. ``owner`` is the peer's address, the tenant's id, or the administrator; ``proof`` what it showed last."""

    rank: Rank
    owner: Hashable
    give_way: Callable[..., None]
    proof: dict[str, Any] = field(default_factory=dict)
    used: int = 0  # when it was last served, on the clock of the places
    is_busy: bool = False


class Places:
    """All of one control process. Used from its event loop."""

    def __init__(self) -> None:
        self._taken: dict[Rank, set[Place]] = {rank: set() for rank in Rank}
        self._clock = 0  # ticks whenever a connection is served

    def take(self, rank: Rank, owner: Hashable, give_way: Callable[..., None]) -> Place | None:
        """A place, for which another may have been told to ``give_way``; None when all that might are being served."""
        place = Place(rank, owner, give_way)
        return place if self._add(place) else None

    def promote(self, place: Place, rank: Rank, owner: Hashable) -> bool:
        """Move a connection to another rank or owner; false when all that might give way there are being served: it
        has none then."""
        if (place.rank, place.owner) == (rank, owner):
            return True
        self.leave(place)
        place.rank, place.owner = rank, owner
        return self._add(place)

    def serve(self, place: Place) -> None:
        """A message came, and is being answered."""
        self._clock += 1
        place.used, place.is_busy = self._clock, True

    def rest(self, place: Place) -> None:
        """Its answer is there; it has not been taken yet."""
        place.is_busy = False

    def leave(self, place: Place) -> None:
        """The connection has ended, or gave way. Again: nothing."""
        self._taken[place.rank].discard(place)

    def of(self, rank: Rank, owner: Hashable) -> list[Place]:
        """All that one owner has."""
        return [place for place in self._taken[rank] if place.owner == owner]

    def count(self, rank: Rank) -> int:
        """Places that are taken."""
        return len(self._taken[rank])

    def _add(self, place: Place) -> bool:
        self._clock += 1
        place.used = self._clock
        taken = self._taken[place.rank]
        own = self.of(place.rank, place.owner)
        if place.rank is Rank.TENANT and len(own) >= limits.CONTROL_CONNECTIONS_PER_TENANT_MAX:
            if not self._end_idle(own):
                return False
        elif len(taken) >= places_of(place.rank):
            counts = Counter(other.owner for other in taken)
            counts[place.owner] += 1
            most = max(counts.values())
            of_most = [other for other in taken if counts[other.owner] == most]
            if not self._end_idle(of_most):
                if counts[place.owner] == most:
                    return False
                self._end(max(of_most, key=lambda other: other.used))  # which has been served for the shortest time
        taken.add(place)
        return True

    def _end_idle(self, candidates: list[Place]) -> bool:
        idle = [place for place in candidates if not place.is_busy]
        if not idle:
            return False
        self._end(min(idle, key=lambda place: place.used))
        return True

    def _end(self, place: Place) -> None:
        self.leave(place)
        place.give_way()

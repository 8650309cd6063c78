"""Who gives way when control connections are many."""

from __future__ import annotations

import pytest

from splinter import limits
from splinter.server.control.places import Place, Places, Rank


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setattr(limits, "CONTROL_STRANGERS_MAX", 4)
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_MAX", 4)
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_PER_TENANT_MAX", 3)
    monkeypatch.setattr(limits, "CONTROL_ADMINISTRATORS_MAX", 2)
    return Places()


class Ended(list):
    """Names of connections that gave way."""

    def of(self, name: str):
        return lambda: self.append(name)


def take(places: Places, ended: Ended, name: str, rank: Rank = Rank.STRANGER, owner: object = "a") -> Place:
    place = places.take(rank, owner, ended.of(name))
    assert place is not None
    return place


def test_the_oldest_stranger_gives_way(places: Places) -> None:
    ended = Ended()
    for number in range(6):
        take(places, ended, str(number))
    assert ended == ["0", "1"]
    assert places.count(Rank.STRANGER) == 4


def test_an_address_with_many_ends_its_own(places: Places) -> None:
    ended = Ended()
    take(places, ended, "quiet", owner="b")
    for number in range(100):
        take(places, ended, str(number), owner="a")
    assert "quiet" not in ended
    assert len(ended) == 97
    take(places, ended, "another", owner="c")  # takes one of the many's places, too
    assert "quiet" not in ended
    assert len(ended) == 98


def test_strangers_take_no_place_of_others(places: Places) -> None:
    ended = Ended()
    take(places, ended, "admin", Rank.ADMINISTRATOR, None)
    take(places, ended, "tenant", Rank.TENANT, 7)
    for number in range(100):
        take(places, ended, str(number), owner=number)
    assert {"admin", "tenant"}.isdisjoint(ended)
    newcomer = take(places, ended, "newcomer", owner="x")
    assert places.promote(newcomer, Rank.ADMINISTRATOR, None)
    assert places.count(Rank.ADMINISTRATOR) == 2


def test_a_tenant_with_many_ends_its_own(places: Places) -> None:
    ended = Ended()
    take(places, ended, "honest", Rank.TENANT, 1)
    for number in range(10):
        take(places, ended, str(number), Rank.TENANT, 2)
    assert places.count(Rank.TENANT) == 4
    assert "honest" not in ended
    for number in range(10, 20):
        take(places, ended, str(number), Rank.TENANT, number)
    assert places.count(Rank.TENANT) == 4


def test_the_one_idle_longest_gives_way(places: Places) -> None:
    ended = Ended()
    made = [take(places, ended, str(number)) for number in range(4)]
    for place in made[:2]:
        places.serve(place)
        places.rest(place)
    take(places, ended, "4")
    assert ended == ["2"]


def test_what_is_being_served_does_not_give_way(places: Places) -> None:
    ended = Ended()
    made = [take(places, ended, str(number)) for number in range(4)]
    for place in made:
        places.serve(place)
    assert places.take(Rank.STRANGER, "a", ended.of("x")) is None
    places.rest(made[3])
    take(places, ended, "4")
    assert ended == ["3"]


def test_leaving_makes_room_and_may_be_said_twice(places: Places) -> None:
    ended = Ended()
    made = [take(places, ended, str(number)) for number in range(4)]
    places.leave(made[0])
    places.leave(made[0])
    take(places, ended, "4")
    assert ended == []


def test_becoming_another_tenant_moves_the_connection(places: Places) -> None:
    ended = Ended()
    place = take(places, ended, "0")
    for tenant in (1, 1, 2):
        assert places.promote(place, Rank.TENANT, tenant)
        assert places.count(Rank.TENANT) == 1
    assert places.count(Rank.STRANGER) == 0


def test_a_tenant_whose_connections_are_all_served_keeps_nobody_out(places: Places) -> None:
    """Long requests on each connection: the one begun last gives way to whoever has fewer, and to nobody who has as many."""
    ended = Ended()
    for name, tenant in (("a", 1), ("b", 1), ("c", 2), ("d", 2)):
        places.serve(take(places, ended, name, Rank.TENANT, tenant))
    assert places.take(Rank.TENANT, 1, ended.of("x")) is None
    take(places, ended, "other", Rank.TENANT, 3)
    assert ended == ["d"]


def test_who_has_most_does_not_take_the_place_of_who_has_few(places: Places) -> None:
    ended = Ended()
    for name in ("a", "b", "c"):
        places.serve(take(places, ended, name, owner=1))
    take(places, ended, "idle", owner=2)
    assert places.take(Rank.STRANGER, 1, ended.of("x")) is None
    assert ended == []

"""The examples' extensions under CPython."""

from __future__ import annotations

import random

from examples.counter import visit
from examples.leaderboard import BOARDS, entries, submit
from examples.rate_limiter import SECOND_NS, allow
from splinter.ext import LocalStore


def test_visits_are_counted_page_by_page() -> None:
    store = LocalStore()
    assert [store.invoke(visit, page=page) for page in (7, 7, 8, 7)] == [1, 2, 1, 3]


def test_a_bucket_is_filled_by_the_clock_and_not_beyond_its_burst() -> None:
    store = LocalStore()
    now = 10 * SECOND_NS
    store.now_ns = lambda: now  # type: ignore[method-assign]

    def asked(times: int) -> int:
        return sum(store.invoke(allow, caller=b"alice", rate=2, burst=5) for _ in range(times))

    assert asked(20) == 5
    now += SECOND_NS * 3 // 4  # one and a half tokens
    assert asked(20) == 1
    now += SECOND_NS // 4  # the other half
    assert asked(20) == 1
    now += 3600 * SECOND_NS
    assert asked(20) == 5
    now -= 5 * SECOND_NS  # a clock that is set back gives nothing
    assert asked(20) == 0


def test_the_board_has_the_best_in_order() -> None:
    store, dice = LocalStore(), random.Random(3)
    scores = [(dice.randrange(50), player) for player in range(60)]
    best: list[tuple[int, int]] = []
    for score, player in scores:
        place = sum(other >= score for other, _ in best)  # behind its equals
        rank = store.invoke(submit, game=1, player=player, score=score)
        best.insert(place, (score, player))
        assert rank == (place + 1 if place < 10 else 0)
        del best[10:]
        assert entries(store.objects[BOARDS, (1).to_bytes(8, "little")]) == best

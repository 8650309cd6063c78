"""The checker of histories knows good ones from bad ones."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.serializability import ABSENT, Operation, is_strictly_serializable

A, B = 1, 2  # keys
RANDOM_HISTORIES = 6000
OPERATIONS_MAX = 6  # of those that are compared with all orders


def reads(called: float, returned: float = math.inf, **tags: int) -> Operation:
    return touch(called, returned, **{f"saw_{key}": tag for key, tag in tags.items()})


def touch(called: float, returned: float = math.inf, **tags: int) -> Operation:
    """``saw_a``, ``not_a``, ``a``: what it found of key A, what it found that A was not, what it left."""
    keys = {"a": A, "b": B}

    def of(prefix: str) -> dict[int, int]:
        return {keys[name[-1]]: tag for name, tag in tags.items() if name[:-1] == prefix}

    return Operation(called, returned, of("saw_"), of("not_"), of(""))


GOOD = {
    "nothing": [],
    "one after the other": [
        touch(0, 1, a=1), reads(2, 3, a=1), touch(4, 5, not_a=ABSENT, a=ABSENT), reads(6, 7, a=ABSENT),
        touch(8, 9, saw_a=ABSENT),
    ],
    "a get during a put sees either": [touch(0, 1, a=1), touch(2, 9, a=2), reads(3, 4, a=1), reads(5, 6, a=2)],
    "no answer, took place": [touch(0, a=1), reads(1, 2, a=1)],
    "no answer, did not": [touch(0, a=1), reads(1, 2, a=ABSENT), reads(3, 4, a=ABSENT)],
    "no answer, took place much later": [touch(0, a=2), touch(1, 2, a=1), reads(3, 4, a=1), reads(5, 6, a=2)],
    "one of two compare-and-puts": [
        touch(0, 1, a=1), touch(2, 5, saw_a=1, a=2), touch(2, 5, not_a=1), reads(6, 7, a=2),
    ],
    "only if absent": [touch(0, 1, saw_a=ABSENT, a=1), touch(2, 3, not_a=ABSENT)],
    "two objects at once": [touch(0, 1, a=1, b=1), touch(2, 9, a=2, b=2), reads(3, 4, a=1, b=1), reads(5, 6, a=2, b=2)],
    "the second waits for the first": [
        touch(0, 9, saw_a=0, saw_b=0, a=1), touch(0, 9, saw_a=1, saw_b=0, b=2), reads(10, 11, a=1, b=2),
    ],
    "no answer, all of it": [touch(0, a=1, b=1), reads(1, 2, a=0), reads(3, 4, b=1), reads(5, 6, a=1)],
}  # fmt: skip

BAD = {
    "a lost put": [touch(0, 1, a=1), reads(2, 3, a=ABSENT)],
    "a put that came back": [touch(0, 1, a=1), touch(2, 3, a=2), reads(4, 5, a=2), reads(6, 7, a=1)],
    "a value from nowhere": [reads(0, 1, a=1), touch(2, 3, a=1)],
    "a lost update": [touch(0, 9, saw_a=0, a=1), touch(0, 9, saw_a=0, a=2)],
    "a delete done twice": [touch(0, 1, a=1), touch(2, 3, not_a=ABSENT, a=ABSENT), touch(4, 5, a=2), reads(6, 7, a=ABSENT)],
    "both compare-and-puts": [touch(0, 1, a=1), touch(2, 5, saw_a=1, a=2), touch(2, 5, saw_a=1, a=3)],
    "a compare-and-put that says no and did it": [touch(0, 1, a=1), touch(2, 3, not_a=1), reads(4, 5, a=2)],
    "back and forth": [touch(0, 1, a=1), touch(0, 9, a=2), reads(2, 3, a=2), reads(4, 5, a=1), reads(6, 7, a=2)],
    "half of a transaction": [touch(0, 9, a=1, b=1), reads(2, 3, a=1, b=ABSENT)],
    "half of one without an answer": [touch(0, a=1, b=1), reads(2, 3, a=1, b=ABSENT)],
    "write skew": [touch(0, 9, saw_a=0, saw_b=0, a=1), touch(0, 9, saw_a=0, saw_b=0, b=2)],
    "two readers see two orders": [touch(0, 9, a=1), touch(0, 9, b=2), reads(0, 9, a=1, b=0), reads(0, 9, a=0, b=2)],
    "serializable, but not as time went": [touch(0, 1, a=1), touch(2, 3, b=2), reads(4, 5, a=0, b=0)],
    "a snapshot that is too old": [touch(0, 1, a=1, b=1), touch(2, 3, a=2), reads(4, 5, a=1, b=1)],
    "an object from the future": [reads(0, 1, a=1), touch(2, a=1)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories(name: str) -> None:
    assert is_strictly_serializable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories(name: str) -> None:
    assert not is_strictly_serializable(BAD[name])


# --- all orders -------------------------------------------------------------------------------------------------------


def orders(history: list[Operation]) -> Iterator[tuple[Operation, ...]]:
    """Each order of each choice of operations that contains those that were answered."""
    answered = [operation for operation in history if operation.returned != math.inf]
    others = [operation for operation in history if operation.returned == math.inf]
    for count in range(len(others) + 1):
        for some in itertools.combinations(others, count):
            yield from itertools.permutations([*answered, *some])


def explains(order: tuple[Operation, ...]) -> bool:
    """Whether the order agrees with time, and each operation of it with what those before it left."""
    if any(later.returned < earlier.called for earlier, later in itertools.combinations(order, 2)):
        return False
    there: dict[int, int] = {}
    for operation in order:
        if any(there.get(key, ABSENT) != tag for key, tag in operation.reads.items()):
            return False
        if any(there.get(key, ABSENT) == tag for key, tag in operation.is_not.items()):
            return False
        there.update(operation.writes)
    return True


# --- random histories -------------------------------------------------------------------------------------------------


def random_history(dice: random.Random, length: int, keys: int, spread: float) -> list[Operation]:
    """Operations that took place at one instant each, ``spread`` the most that lies between that and call and return; some
    without an answer."""
    there = dict.fromkeys(range(keys), ABSENT)
    history = []
    for tag in range(1, length + 1):
        read = dice.sample(range(keys), dice.randint(0, keys))
        written = dice.sample(range(keys), dice.choice([0, 1, 1, dice.randint(1, keys)]))
        named = dice.choice(range(keys))
        saw = {key: there[key] for key in read}
        differs = {named: tag - 1} if dice.random() < 0.2 and there[named] != tag - 1 else {}
        writes = {key: dice.choice([tag, tag, tag, ABSENT]) for key in written}
        if dice.random() < 0.15:  # no answer: nothing is known of what it saw, nor whether it took place
            history.append(Operation(tag - dice.random() * spread, math.inf, {}, {}, writes))
            if dice.random() < 0.5:
                continue
        else:
            called, returned = tag - dice.random() * spread, tag + dice.random() * spread
            history.append(Operation(called, returned, saw, differs, writes))
        there.update(writes)
    return history


def change(dice: random.Random, history: list[Operation]) -> None:
    """Give one look-up another answer, which may be wrong."""
    place = dice.randrange(len(history))
    operation = history[place]
    if operation.reads:
        key = dice.choice(list(operation.reads))
        tags = {**operation.reads, key: dice.randint(0, len(history))}
        history[place] = Operation(operation.called, operation.returned, tags, operation.is_not, operation.writes)


def test_small_histories_are_judged_as_by_trying_all_orders() -> None:
    judged: Counter[bool] = Counter()
    for seed in range(RANDOM_HISTORIES):
        dice = random.Random(seed)
        history = random_history(dice, dice.randint(1, OPERATIONS_MAX), dice.randint(1, 3), spread=3.0)
        for _ in range(dice.randint(0, 2)):
            change(dice, history)
        expected = any(explains(order) for order in orders(history))
        assert is_strictly_serializable(history) == expected, (seed, history)
        judged[expected] += 1
    assert min(judged.values()) > RANDOM_HISTORIES / 10, judged


def test_random_histories_that_did_happen_are_good() -> None:
    for seed in range(300):
        assert is_strictly_serializable(random_history(random.Random(seed), 30, 4, spread=4.0)), seed


def test_tags_that_nobody_wrote_are_found() -> None:
    tried = 0
    for seed in range(300):
        dice = random.Random(seed)
        history = random_history(dice, 30, 4, spread=4.0)
        place = dice.randrange(len(history))
        wrong = history[place]
        if wrong.reads:
            tried += 1
            tags = {**wrong.reads, dice.choice(list(wrong.reads)): len(history) + 1}
            history[place] = Operation(wrong.called, wrong.returned, tags, wrong.is_not, wrong.writes)
            assert not is_strictly_serializable(history), seed
    assert tried > 100

"""The checker of histories knows good ones from bad ones."""

from __future__ import annotations

import math
import random

import pytest

from tests.support.linearizability import UNKNOWN, Kind, Operation, State, apply, is_linearizable

A, B, C = (0, 1), (0, 2), (0, 3)


def get(result: State, called: float, returned: float = math.inf) -> Operation:
    return Operation(Kind.GET, None, result, called, returned)


def put(value: State, called: float, returned: float = math.inf) -> Operation:
    return Operation(Kind.PUT, value, None, called, returned)


def put_if(expected: int | None, value: State, result: bool, called: float, returned: float = math.inf) -> Operation:
    return Operation(Kind.PUT_IF, (expected, value), result, called, returned)


def delete(result: bool, called: float, returned: float = math.inf) -> Operation:
    return Operation(Kind.DELETE, None, result, called, returned)


def increment(tag: int, result: object, called: float, returned: float = math.inf) -> Operation:
    return Operation(Kind.INCREMENT, tag, result, called, returned)


GOOD = {
    "nothing": [],
    "one after the other": [put(A, 0, 1), get(A, 2, 3), delete(True, 4, 5), get(None, 6, 7), delete(False, 8, 9)],
    "a get during a put sees either": [put(A, 0, 1), put(B, 2, 9), get(A, 3, 4), get(B, 5, 6)],
    "no answer, took place": [put(A, 0), get(A, 1, 2)],
    "no answer, did not": [put(A, 0), get(None, 1, 2), get(None, 3, 4)],
    "no answer, took place much later": [put(B, 0), put(A, 1, 2), get(A, 3, 4), get(B, 5, 6)],
    "aborted after its effect": [increment(1, UNKNOWN, 0, 1), increment(2, 2, 2, 3)],
    "one of two compare-and-puts": [put(A, 0, 1), put_if(1, B, True, 2, 5), put_if(1, C, False, 2, 5), get(B, 6, 7)],
    "only if absent": [put_if(None, A, True, 0, 1), put_if(None, B, False, 2, 3)],
    "increments side by side": [increment(tag, 5 - tag, 0, 9) for tag in range(1, 5)],
}

BAD = {
    "a lost put": [put(A, 0, 1), get(None, 2, 3)],
    "a put that came back": [put(A, 0, 1), put(B, 2, 3), get(B, 4, 5), get(A, 6, 7)],
    "a value from nowhere": [get(A, 0, 1), put(A, 2, 3)],
    "an increment done twice": [increment(1, 1, 0, 1), increment(2, 3, 2, 3)],
    "an increment lost": [increment(1, 1, 0, 9), increment(2, 1, 0, 9)],
    "an aborted increment without effect": [increment(1, UNKNOWN, 0, 1), increment(2, 1, 2, 3)],
    "a delete done twice": [put(A, 0, 1), delete(True, 2, 3), put(B, 4, 5), get(None, 6, 7)],
    "both compare-and-puts": [put(A, 0, 1), put_if(1, B, True, 2, 5), put_if(1, C, True, 2, 5)],
    "a compare-and-put that says no and did it": [put(A, 0, 1), put_if(1, B, False, 2, 3), get(B, 4, 5)],
    "back and forth": [put(A, 0, 1), put(B, 0, 9), get(B, 2, 3), get(A, 4, 5), get(B, 6, 7)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories(name: str):
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories(name: str):
    assert not is_linearizable(BAD[name])


def random_history(dice: random.Random, length: int) -> list[Operation]:
    """Operations that took place at one moment each, some without an answer."""
    state: State = None
    history = []
    for tag in range(1, length + 1):
        kind = dice.choice(list(Kind))
        argument = {
            Kind.PUT: (dice.randrange(5), tag),
            Kind.PUT_IF: (dice.choice([None, state[1] if state else None, tag - 1]), (0, tag)),
            Kind.INCREMENT: tag,
        }.get(kind)
        state, result = apply(state, Operation(kind, argument, None, 0))
        returned = math.inf if dice.random() < 0.1 else tag + dice.random() * 4
        history.append(Operation(kind, argument, result, tag - dice.random() * 4, returned))
    return history


def test_random_histories_that_did_happen_are_good():
    for seed in range(200):
        assert is_linearizable(random_history(random.Random(seed), 30)), seed


def test_results_that_nothing_explains_are_found():
    found = tried = 0
    for seed in range(200):
        dice = random.Random(seed)
        history = random_history(dice, 20)
        place = dice.randrange(len(history))
        wrong = history[place]
        if wrong.kind is Kind.INCREMENT and wrong.returned != math.inf:
            tried += 1
            history[place] = Operation(wrong.kind, wrong.argument, wrong.result + 100, wrong.called, wrong.returned)
            found += not is_linearizable(history)
    assert found == tried > 20

"""Whether a concurrent history of one object could have come from doing its operations one at a time.

Wing and Gong's search ("Testing and Verifying Atomic Objects", 1993) with Lowe's memoization ("Testing for
linearizability", 2017): put the operations in an order, each between its call and its return, such that the model gives
every result that was seen. Objects are checked one by one: a history is linearizable if that of each object is.

An object is None (absent) or a pair: a counter, and the tag of whoever wrote it, which nobody uses twice; so "the version
that I read" and "the tag that I read" are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

State = tuple[int, int] | None


class Kind(Enum):
    GET = auto()  # result: the state
    PUT = auto()  # argument: the new state; result: None
    PUT_IF = auto()  # argument: (tag that must be there, or None for nothing at all; new state); result: whether it was done
    DELETE = auto()  # result: whether there was something
    INCREMENT = auto()  # argument: the new tag; result: the counter after


class Unknown:
    """The result of an operation that took place, but whose answer does not say what it gave."""


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Operation:
    """One call. ``returned`` is infinite when no answer came: the operation may have taken place at any time, or not."""

    kind: Kind
    argument: Any
    result: Any
    called: float
    returned: float = math.inf


def apply(state: State, operation: Operation) -> tuple[State, Any]:
    """What the operation makes of a state, and its result."""
    match operation.kind:
        case Kind.GET:
            return state, state
        case Kind.PUT:
            return operation.argument, None
        case Kind.PUT_IF:
            expected, new = operation.argument
            if expected != (None if state is None else state[1]):
                return state, False
            return new, True
        case Kind.DELETE:
            return None, state is not None
        case Kind.INCREMENT:
            count = 1 if state is None else state[0] + 1
            return (count, operation.argument), count


def is_linearizable(
    history: Iterable[Operation],
    initial: State = None,
    step: Callable[[State, Operation], tuple[State, Any]] = apply,
) -> bool:
    """Whether there is such an order."""
    operations = sorted(history, key=lambda operation: operation.called)
    must = sum(1 << i for i, operation in enumerate(operations) if operation.returned != math.inf)
    waiting: list[tuple[int, State]] = [(0, initial)]
    seen = {waiting[0]}
    while waiting:
        done, state = waiting.pop()
        if done & must == must:
            return True
        # What comes next was called before anything that is still to come returned.
        latest = min(o.returned for i, o in enumerate(operations) if not done >> i & 1)
        for i, operation in enumerate(operations):
            if operation.called > latest:
                break
            if done >> i & 1:
                continue
            after, result = step(state, operation)
            if operation.returned != math.inf and operation.result is not UNKNOWN and operation.result != result:
                continue
            following = (done | 1 << i, after)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return False

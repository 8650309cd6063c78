"""Whether a concurrent history of a few objects could have come from doing its operations one at a time.

An operation reads some objects and changes some, all at one instant between its call and its return: it is a look-up, a put,
or a transaction. An object is a tag, or ABSENT.

Wing and Gong's search ("Testing and Verifying Atomic Objects", 1993) with Lowe's memoization ("Testing for linearizability",
2017), of all objects at once: operations are put in an order, one by one. **Why it is right.** An operation may come next if it
was called before anything that is still to come returned: so exactly the orders that agree with real time are tried. It is
taken only where it reads what it has seen. What may follow depends on nothing but which operations were done and what they have
left, so each such pair is looked at once. An operation without an answer may come at any place after its call, or not at all:
the search is over when all that were answered have their places.

Blind writes, deletes and failed comparisons need no special care, as they would in a graph of who read whose version. The price
is time that grows with the number of operations that were under way at once; the histories here have few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ABSENT = 0  # in place of a tag


@dataclass(frozen=True)
class Operation:
    """One call. ``returned`` is infinite when no answer came: the operation may have taken place at any time, or not.

    Mappings are from keys to tags. ``is_not`` is what it found that an object was not: a delete that found something, a
    compare-and-put that did not find what it named.
    """

    called: float
    returned: float = math.inf
    reads: Mapping[int, int] = field(default_factory=dict)
    is_not: Mapping[int, int] = field(default_factory=dict)
    writes: Mapping[int, int] = field(default_factory=dict)

    @property
    def keys(self) -> set[int]:
        """Of all objects that it deals with."""
        return {*self.reads, *self.is_not, *self.writes}


State = tuple[int, ...]  # the tags of all objects, in the order of their keys


class _Step:
    """An operation, by the places of its keys in a state."""

    def __init__(self, operation: Operation, places: Mapping[int, int]) -> None:
        self.called, self.returned = operation.called, operation.returned
        self._reads = [(places[key], tag) for key, tag in operation.reads.items()]
        self._is_not = [(places[key], tag) for key, tag in operation.is_not.items()]
        self._writes = [(places[key], tag) for key, tag in operation.writes.items()]

    def after(self, state: State) -> State | None:
        """What it leaves of a state; None when it cannot have seen that one."""
        if any(state[place] != tag for place, tag in self._reads) or any(state[place] == tag for place, tag in self._is_not):
            return None
        if not self._writes:
            return state
        left = list(state)
        for place, tag in self._writes:
            left[place] = tag
        return tuple(left)


def is_strictly_serializable(history: Iterable[Operation]) -> bool:
    """Whether there is an order that explains the history. In the beginning all objects are absent."""
    operations = sorted(history, key=lambda operation: operation.called)
    places = {key: place for place, key in enumerate(sorted({key for operation in operations for key in operation.keys}))}
    steps = [_Step(operation, places) for operation in operations]
    must = sum(1 << i for i, step in enumerate(steps) if step.returned != math.inf)
    waiting: list[tuple[int, State]] = [(0, (ABSENT,) * len(places))]
    seen = {waiting[0]}
    while waiting:
        done, state = waiting.pop()
        if done & must == must:
            return True
        for i in _next(steps, done):
            after = steps[i].after(state)
            following = (done | 1 << i, after)
            if after is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return False


def _next(steps: list[_Step], done: int) -> list[int]:
    """Those that were called before anything that is still to come returned. ``steps`` are in the order of their calls."""
    found, latest = [], math.inf
    for i in range((~done & done + 1).bit_length() - 1, len(steps)):
        if steps[i].called > latest:
            break
        if not done >> i & 1:
            found.append(i)
            latest = min(latest, steps[i].returned)
    return found

"""The demonstration's questions, and the two ways to answer them.

Both questions are chains of dependent look-ups: which object to read next, only the last one says. By **gets**, the
client follows the chain itself, at the price of a round trip for each object. By **invoke**, it asks an extension that
lives where the objects are: one round trip. Each question is also answered from the database in this process's memory;
all three answers must be equal.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from splinter_bench.workloads.wordnet import PATH_SYNSETS_MAX, SYNSET, TABLE_SYNSETS, WordNet, WordNetError

from splinter.client import Client
from splinter.layout import offset

_PARENT = struct.Struct("<Q")
_PARENT_OFFSET = offset(SYNSET, "parent")


class Gets:
    """Answers by following the chain from the client's side."""

    name = "gets"

    def __init__(self, client: Client) -> None:
        self._client = client
        self.round_trips = 0

    def path_to_root(self, synset: int) -> int:
        """Number of synsets on the path to the root, as the extension of this name counts them."""
        return len(self._path(synset))

    def lowest_common_ancestor(self, first: int, second: int) -> int:
        """What the extension of this name answers, with as few gets as it takes: the second path is followed only until
        it meets the first."""
        above_first = set(self._path(first))
        for _ in range(PATH_SYNSETS_MAX):
            if second in above_first or not second:
                return second
            second = self._parent(second) or 0
        raise WordNetError(f"the stored parents of synset {second} form a cycle")

    def _path(self, synset: int) -> list[int]:
        path: list[int] = []
        while synset and (parent := self._parent(synset)) is not None:
            if len(path) == PATH_SYNSETS_MAX:
                raise WordNetError(f"the stored parents of synset {synset} form a cycle")
            path.append(synset)
            synset = parent
        return path

    def _parent(self, synset: int) -> int | None:
        self.round_trips += 1
        value = self._client.get(synset, table=TABLE_SYNSETS)
        return None if value is None else int(_PARENT.unpack_from(value, _PARENT_OFFSET)[0])


class Invokes:
    """Answers by the extension of the question's name."""

    name = "invoke"

    def __init__(self, client: Client) -> None:
        self._client = client
        self.round_trips = 0

    def path_to_root(self, synset: int) -> int:
        """Number of synsets on the path to the root."""
        self.round_trips += 1
        return int(self._client.invoke("path_to_root", synset=synset))

    def lowest_common_ancestor(self, first: int, second: int) -> int:
        """Id of the deepest synset on both paths, or 0."""
        self.round_trips += 1
        return int(self._client.invoke("lowest_common_ancestor", first=first, second=second))


class Way:
    """One way to answer one question, and how that went: an answer and a latency for each asking."""

    def __init__(self, answerer: Gets | Invokes, question: str) -> None:
        self._answerer = answerer
        self._ask: Callable[..., int] = getattr(answerer, question)
        self.name = answerer.name
        self.answers: list[int] = []
        self.latencies_ns: list[int] = []

    def answer(self, arguments: tuple[int, ...]) -> None:
        """Ask once."""
        start = time.perf_counter_ns()
        answer = self._ask(*arguments)
        self.latencies_ns.append(time.perf_counter_ns() - start)
        self.answers.append(answer)

    @property
    def round_trips(self) -> int:
        """Requests sent in all."""
        return self._answerer.round_trips

    @property
    def per_second(self) -> float:
        """Questions answered each second by one client, one after the other."""
        return len(self.latencies_ns) * 1e9 / sum(self.latencies_ns)

    def percentile_ns(self, percent: float) -> float:
        """A percentile of the latencies."""
        return float(np.percentile(self.latencies_ns, percent))


@dataclass
class Question:
    """A question about many synsets, its answers from the database in memory, and the two ways to the server's.

    ``name`` is the extension's, ``title`` is for people.
    """

    name: str
    title: str
    arguments: Sequence[tuple[int, ...]]
    expected: Sequence[int]
    client: Client
    gets: Way = field(init=False)
    invoke: Way = field(init=False)

    def __post_init__(self) -> None:
        self.gets = Way(Gets(self.client), self.name)
        self.invoke = Way(Invokes(self.client), self.name)

    @property
    def different(self) -> int:
        """How many answers are not the same by all ways."""
        answered = zip(self.expected, self.gets.answers, self.invoke.answers, strict=True)
        return sum(not expected == gets == invoke for expected, gets, invoke in answered)

    def ask_all(self) -> Iterator[int]:
        """Ask everything; yields after each. The ways take turns at going first, so that noise and warmth hit both."""
        for number, arguments in enumerate(self.arguments, start=1):
            ways = (self.gets, self.invoke) if number % 2 else (self.invoke, self.gets)
            for way in ways:
                way.answer(arguments)
            yield number


def make_questions(client: Client, wordnet: WordNet, count: int) -> list[Question]:
    """Both questions, each about ``count`` nouns or pairs of nouns, the same ones each time."""
    nouns = wordnet.nouns()
    firsts, seconds = (random.Random(seed).choices(nouns, k=count) for seed in (1, 2))
    pairs = list(zip(firsts, seconds, strict=True))
    lengths = [len(wordnet.path_to_root(first)) for first in firsts]
    ancestors = [wordnet.lowest_common_ancestor(first, second) for first, second in pairs]
    return [
        Question("path_to_root", "path to root", [(first,) for first in firsts], lengths, client),
        Question("lowest_common_ancestor", "common ancestor", pairs, ancestors, client),
    ]

"""The demonstration's questions against a client whose server is a dictionary."""

from __future__ import annotations

import pytest
from splinter_bench.workloads.wordnet import TABLE_SYNSETS, Synset, WordNet, WordNetError

from examples.wordnet import questions
from examples.wordnet.questions import Gets, Question, make_questions

#       1
#      / \
#     2   5
#    / \   \
#   3   4   6 - 7        8 is a tree of its own
PARENTS = {1: 0, 2: 1, 3: 2, 4: 2, 5: 1, 6: 5, 7: 6, 8: 0}
WORDNET = WordNet({n: Synset(n, (f"w{n}",), "", (parent,) if parent else ()) for n, parent in PARENTS.items()}, {})


class LocalClient:
    """Answers as a server with WORDNET in it would; its extensions are the reference answers plus ``error``."""

    def __init__(self, wordnet: WordNet = WORDNET, error: int = 0) -> None:
        self.wordnet, self.error = wordnet, error

    def get(self, key: int, *, table: int) -> bytes | None:
        assert table == TABLE_SYNSETS
        synset = self.wordnet.synsets.get(key)
        return None if synset is None else synset.pack()

    def invoke(self, name: str, **arguments: int) -> int:
        if name == "path_to_root":
            return len(self.wordnet.path_to_root(arguments["synset"])) + self.error
        return self.wordnet.lowest_common_ancestor(arguments["first"], arguments["second"]) + self.error


def gets(wordnet: WordNet = WORDNET) -> Gets:
    return Gets(LocalClient(wordnet))  # type: ignore[arg-type]


def test_a_path_takes_a_get_for_each_synset() -> None:
    asker = gets()
    assert asker.path_to_root(7) == 4
    assert asker.round_trips == 4
    assert asker.path_to_root(99) == 0


@pytest.mark.parametrize("first", PARENTS)
@pytest.mark.parametrize("second", PARENTS)
def test_common_ancestors_by_gets_are_the_references(first: int, second: int) -> None:
    asker = gets()
    assert asker.lowest_common_ancestor(first, second) == WORDNET.lowest_common_ancestor(first, second)


def test_the_second_path_is_followed_only_until_it_meets_the_first() -> None:
    asker = gets()
    asker.lowest_common_ancestor(7, 6)
    assert asker.round_trips == 4


def test_a_cycle_ends() -> None:
    cyclic = WordNet({1: Synset(1, ("a",), "", (2,)), 2: Synset(2, ("b",), "", (1,)), 3: Synset(3, ("c",), "", ())}, {})
    with pytest.raises(WordNetError):
        gets(cyclic).path_to_root(1)
    with pytest.raises(WordNetError):
        gets(cyclic).lowest_common_ancestor(3, 1)


def ask(error: int) -> list[Question]:
    asked = make_questions(LocalClient(error=error), WORDNET, 20)  # type: ignore[arg-type]
    for question in asked:
        assert list(question.ask_all()) == list(range(1, 21))
    return asked


def test_ways_are_compared_and_counted() -> None:
    for question in ask(error=0):
        assert question.different == 0
        assert question.invoke.round_trips == 20
        assert question.gets.round_trips > 20
        assert len(question.gets.latencies_ns) == len(question.invoke.latencies_ns) == 20
        assert question.gets.percentile_ns(50) <= question.gets.percentile_ns(99)
        assert question.gets.per_second > 0


def test_wrong_answers_are_noticed() -> None:
    assert [question.different for question in ask(error=1)] == [20, 20]


def test_the_same_questions_each_time() -> None:
    client = LocalClient()
    first, second = (questions.make_questions(client, WORDNET, 9) for _ in range(2))  # type: ignore[arg-type]
    assert [question.arguments for question in first] == [question.arguments for question in second]

"""The WordNet reader, on a small database written here and on the whole one where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from splinter_bench.workloads import wordnet
from splinter_bench.workloads.wordnet import PART_STRIDE, TABLE_SYNSETS, TABLE_WORDS, Synset, WordNet, WordNetError

LICENCE = "  1 This software and database is being provided to you, the LICENSEE.\n"
DATA = {
    "noun": [
        "00001740 03 n 01 entity 0 001 ~ 00002137 n 0000 | that which exists  ",
        "00002137 05 n 02 canine 0 canid 0 002 @ 00001740 n 0000 ~ 02084071 n 0000 | a fissiped mammal  ",
        "02084071 05 n 02 dog 0 domestic_dog 0 003 @ 00002137 n 0000 @ 00001740 n 0000 #m 00002137 n 0000 | a dog; "
        '"it barked | loudly"  ',
        "09999999 18 n 01 Rex 0 001 @i 02084071 n 0000 | one dog  ",
    ],
    "verb": ["00001740 29 v 01 dog 3 001 @ 00001800 v 0000 01 + 08 00 | go after", "00001800 29 v 01 go 0 000 | move"],
    "adj": ["00001740 00 s 01 galore(ip) 0 000 | plenty  "],
    "adv": ["00001740 02 r 01 a_cappella 0 000 | without accompaniment  "],
}
INDEX = {
    "noun": ["dog n 1 2 @ #m 1 1 02084071  ", "domestic_dog n 1 1 @ 1 0 02084071  "],
    "verb": ["dog v 1 1 @ 1 1 00001740  "],
    "adj": ["galore a 1 0 1 0 00001740  "],
    "adv": ["a_cappella r 1 0 1 0 00001740  "],
}
DOG, CANINE, ENTITY, REX = 2084071, 2137, 1740, 9999999


@pytest.fixture
def small(tmp_path: Path) -> WordNet:
    for kind, files in (("data", DATA), ("index", INDEX)):
        for part, lines in files.items():
            (tmp_path / f"{kind}.{part}").write_text(LICENCE + "".join(line + "\n" for line in lines))
    return wordnet.load_wordnet(tmp_path)


@pytest.fixture(scope="module")
def whole() -> WordNet:
    try:
        return wordnet.load_wordnet()
    except WordNetError as error:
        pytest.skip(str(error))  # scripts/setup installs it; CI takes this skip for a failure


def test_ids_are_unique_over_parts_and_nouns_keep_their_offset(small: WordNet) -> None:
    assert set(small.synsets) == {
        ENTITY, CANINE, DOG, REX,
        PART_STRIDE + 1740, PART_STRIDE + 1800, 2 * PART_STRIDE + 1740, 3 * PART_STRIDE + 1740,
    }  # fmt: skip
    assert small.nouns() == [ENTITY, CANINE, DOG, REX]


def test_a_synset_has_words_gloss_and_hypernyms_in_order(small: WordNet) -> None:
    assert small.synsets[DOG] == Synset(DOG, ("dog", "domestic dog"), 'a dog; "it barked | loudly"', (CANINE, ENTITY))
    assert small.synsets[REX].hypernyms == (DOG,)
    assert small.synsets[PART_STRIDE + 1740].parent == PART_STRIDE + 1800
    assert small.synsets[2 * PART_STRIDE + 1740].words == ("galore",)
    assert small.synsets[ENTITY].parent == 0


def test_lookup_lists_nouns_first_and_ignores_case(small: WordNet) -> None:
    assert small.lookup("Dog") == (DOG, PART_STRIDE + 1740)
    assert small.lookup("domestic_dog") == small.lookup("domestic dog") == (DOG,)
    assert small.lookup("cat") == ()


def test_a_value_is_what_the_documentation_says(small: WordNet) -> None:
    value = small.synsets[DOG].pack()
    assert value[:8] == CANINE.to_bytes(8, "little")  # what extensions read as node.u64(0)
    assert value[8:10] == b"\x02\x00"
    assert value[16:32] == CANINE.to_bytes(8, "little") + ENTITY.to_bytes(8, "little")
    assert value[32:] == b'dog, domestic doga dog; "it barked | loudly"'
    assert Synset.unpack(DOG, value) == small.synsets[DOG]


def test_objects_are_all_synsets_and_all_words(small: WordNet) -> None:
    objects = {(table, key): value for table, key, value in small.objects()}
    assert len(objects) == len(small.synsets) + len(small.words)
    assert objects[TABLE_SYNSETS, DOG.to_bytes(8, "little")] == small.synsets[DOG].pack()
    assert objects[TABLE_WORDS, b"dog"] == DOG.to_bytes(8, "little") + (PART_STRIDE + 1740).to_bytes(8, "little")


def test_reference_answers(small: WordNet) -> None:
    assert small.path_to_root(REX) == [REX, DOG, CANINE, ENTITY]
    assert small.path_to_root(ENTITY) == [ENTITY]
    assert small.lowest_common_ancestor(REX, CANINE) == CANINE
    assert small.lowest_common_ancestor(DOG, DOG) == DOG
    assert small.lowest_common_ancestor(DOG, PART_STRIDE + 1740) == 0
    with pytest.raises(KeyError):
        small.path_to_root(5)


def test_a_cycle_is_an_error() -> None:
    cyclic = WordNet({1: Synset(1, ("a",), "", (2,)), 2: Synset(2, ("b",), "", (1,))}, {})
    with pytest.raises(WordNetError, match="synset 1"):
        cyclic.path_to_root(1)


def test_a_missing_database_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(WordNetError, match="install the package wordnet-base"):
        wordnet.load_wordnet(tmp_path)


def test_the_whole_of_wordnet(whole: WordNet) -> None:
    assert len(whole.synsets) == 117_659
    assert len(whole.words) == 147_306
    assert [whole.synsets[synset].words[0] for synset in whole.path_to_root(whole.lookup("dog")[0])] == [
        "dog", "canine", "carnivore", "placental", "mammal", "vertebrate", "chordate", "animal", "organism",
        "living thing", "whole", "object", "physical entity", "entity",
    ]  # fmt: skip
    dog, cat = whole.lookup("dog")[0], whole.lookup("cat")[0]
    assert whole.synsets[whole.lowest_common_ancestor(dog, cat)].words == ("carnivore",)


def test_all_nouns_form_one_tree_and_every_object_fits_one_packet(whole: WordNet) -> None:
    assert {whole.path_to_root(synset)[-1] for synset in whole.nouns()} == {ENTITY}
    assert max(len(value) for _, _, value in whole.objects()) <= wordnet.VALUE_BYTES_MAX
    for synset in list(whole.synsets.values())[::97]:
        assert Synset.unpack(synset.id, synset.pack()) == synset

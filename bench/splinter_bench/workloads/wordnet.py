"""WordNet 3.0 as a graph of objects: the demonstration's data.

Debian's ``wordnet-base`` ships the lexicographers' database as plain text (the format is that of its manual pages,
wndb(5WN)). Each synset, a set of words of one meaning, becomes one object, and so does each word:

=================  ====================  ==============================================================================
table              key                   value
=================  ====================  ==============================================================================
``TABLE_SYNSETS``  synset id, u64        ``SYNSET``, then u64 × ``hypernym_count``, then the words, separated by
                                         ``WORD_SEPARATOR``, then the gloss
``TABLE_WORDS``    the word: lower case, synset ids, u64 each: nouns first, the commonest sense first
                   spaces between parts
=================  ====================  ==============================================================================

Integers are little-endian; text is UTF-8.

**Synset ids.** The database numbers synsets by their byte offset in the file of their part of speech. An id is
``part × PART_STRIDE + offset`` with part 0 for nouns, so a noun keeps its plain offset: *dog* is 2084071.

**Parents.** A hypernym is a more general synset (*dog* → *canine*). A synset may have several (*dog* is also a
*domestic animal*); its **parent** is the one the database lists first, instance hypernyms included, and 0 when there is
none. Path, depth and lowest common ancestor are all meant along parents: all nouns form one tree below *entity*, verbs
several.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splinter.errors import SplinterError

WORDNET_FOLDER = Path("/usr/share/wordnet")
WORDNET_PACKAGE = "wordnet-base"

TABLE_SYNSETS = 1
TABLE_WORDS = 2

PART_STRIDE = 10**8  # offsets have eight decimal digits
PARTS = ("noun", "verb", "adj", "adv")  # an id's part of speech is an index of this
_PART_OF_LETTER = {"n": 0, "v": 1, "a": 2, "s": 2, "r": 3}  # s: adjective satellites, in the same file as adjectives
_HYPERNYM_SYMBOLS = ("@", "@i")
_LICENCE_PREFIX = " "  # the files begin with the licence, each line of it indented

WORD_SEPARATOR = ", "
VALUE_BYTES_MAX = 1300  # so that one packet carries any object; the longest of WordNet 3.0 has 627 bytes
PATH_SYNSETS_MAX = 64  # a longer path to the root can only be a cycle; the longest of WordNet 3.0 has 20

SYNSET = np.dtype(
    [
        ("parent", "<u8"),  # id of the first hypernym; 0: none
        ("hypernym_count", "<u2"),
        ("words_bytes", "<u2"),
        ("gloss_bytes", "<u2"),
        ("part", "<u2"),  # index into PARTS
    ]
)
_SYNSET = struct.Struct("<QHHHH")
assert _SYNSET.size == SYNSET.itemsize


class WordNetError(SplinterError):
    """The database is not on this machine, or is not what this module takes it for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its words, its explanation, and the ids of its hypernyms in the database's order."""

    id: int
    words: tuple[str, ...]
    gloss: str
    hypernyms: tuple[int, ...]

    @property
    def parent(self) -> int:
        """Id of the first hypernym, or 0."""
        return self.hypernyms[0] if self.hypernyms else 0

    def pack(self) -> bytes:
        """The object's value, as the table above lays it out."""
        words = WORD_SEPARATOR.join(self.words).encode()
        gloss = self.gloss.encode()
        head = _SYNSET.pack(self.parent, len(self.hypernyms), len(words), len(gloss), self.id // PART_STRIDE)
        return head + pack_ids(self.hypernyms) + words + gloss

    @classmethod
    def unpack(cls, synset: int, value: bytes) -> Synset:
        """Read an object's value; ``synset`` is its key. Raises ``struct.error`` when it is too short."""
        _, hypernym_count, words_bytes, gloss_bytes, _ = _SYNSET.unpack_from(value)
        hypernyms = struct.unpack_from(f"<{hypernym_count}Q", value, _SYNSET.size)
        text = value[_SYNSET.size + 8 * hypernym_count :]
        words = text[:words_bytes].decode().split(WORD_SEPARATOR)
        return cls(synset, tuple(words), text[words_bytes : words_bytes + gloss_bytes].decode(), hypernyms)


class WordNet:
    """The whole database in memory: ``synsets`` by id, ``words`` (word → synset ids)."""

    def __init__(self, synsets: dict[int, Synset], words: dict[str, tuple[int, ...]]) -> None:
        self.synsets = synsets
        self.words = words

    def objects(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Everything there is to store: (table, key, value)."""
        for synset in self.synsets.values():
            yield TABLE_SYNSETS, synset_key(synset.id), synset.pack()
        for word, ids in self.words.items():
            yield TABLE_WORDS, word.encode(), pack_ids(ids)

    def lookup(self, word: str) -> tuple[int, ...]:
        """Ids of the synsets that a word may mean, the commonest noun first; empty for an unknown word."""
        return self.words.get(word.lower().replace("_", " "), ())

    def nouns(self) -> list[int]:
        """Ids of all noun synsets, ascending."""
        return sorted(synset for synset in self.synsets if synset < PART_STRIDE)

    def path_to_root(self, synset: int) -> list[int]:
        """The synset, its parent, its parent's parent, … up to the root.

        Raises ``KeyError`` for an unknown id and :class:`WordNetError` where parents form a cycle.
        """
        path = [synset]
        while parent := self.synsets[path[-1]].parent:
            if len(path) == PATH_SYNSETS_MAX:
                raise WordNetError(f"the parents of synset {synset} lead nowhere within {PATH_SYNSETS_MAX} steps")
            path.append(parent)
        return path

    def lowest_common_ancestor(self, first: int, second: int) -> int:
        """Id of the deepest synset on both paths to the root, or 0 when the roots differ.

        A synset is on its own path: the ancestor of *dog* and *canine* is *canine*. Raises as :meth:`path_to_root`.
        """
        others = set(self.path_to_root(second))
        return next((synset for synset in self.path_to_root(first) if synset in others), 0)


def synset_key(synset: int) -> bytes:
    """The key of a synset's object: what the client makes of an integer key as well."""
    return synset.to_bytes(8, "little")


def pack_ids(ids: tuple[int, ...]) -> bytes:
    """Ids as u64, little-endian."""
    return struct.pack(f"<{len(ids)}Q", *ids)


def load_wordnet(folder: Path = WORDNET_FOLDER) -> WordNet:
    """Read the database: 117,659 synsets and 147,306 words in about a second.

    Raises :class:`WordNetError` when it is not in ``folder``.
    """
    missing = [name for part in PARTS for name in (f"data.{part}", f"index.{part}") if not (folder / name).is_file()]
    if missing:
        raise WordNetError(
            f"{folder} lacks WordNet's {', '.join(missing)}: install the package {WORDNET_PACKAGE} "
            f"(apt-get install {WORDNET_PACKAGE}, or scripts/setup as root)"
        )
    synsets: dict[int, Synset] = {}
    senses: dict[str, list[int]] = {}
    for part, name in enumerate(PARTS):
        for line in _database_lines(folder / f"data.{name}"):
            synset = parse_synset(line, part)
            synsets[synset.id] = synset
        for line in _database_lines(folder / f"index.{name}"):
            word, ids = parse_word(line, part)
            senses.setdefault(word, []).extend(ids)
    return WordNet(synsets, {word: tuple(ids) for word, ids in senses.items()})


def parse_synset(line: str, part: int) -> Synset:
    """Parse a line of ``data.*``: *offset file type word-count (word lex-id)… pointer-count pointer… | gloss*.

    The word count is hexadecimal; a pointer is *symbol offset part source/target*.
    """
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    words_end = 4 + 2 * int(fields[3], 16)
    words = tuple(_plain_word(word) for word in fields[4:words_end:2])
    hypernyms = []
    for at in range(words_end + 1, words_end + 1 + 4 * int(fields[words_end]), 4):
        if fields[at] in _HYPERNYM_SYMBOLS:
            hypernyms.append(_PART_OF_LETTER[fields[at + 2]] * PART_STRIDE + int(fields[at + 1]))
    return Synset(part * PART_STRIDE + int(fields[0]), words, gloss.strip(), tuple(hypernyms))


def parse_word(line: str, part: int) -> tuple[str, tuple[int, ...]]:
    """Parse a line of ``index.*``: *lemma part synset-count … offset…*, the commonest sense first."""
    fields = line.split()
    offsets = fields[-int(fields[2]) :]
    return fields[0].replace("_", " "), tuple(part * PART_STRIDE + int(offset) for offset in offsets)


def _plain_word(word: str) -> str:
    # Adjectives may carry their position as a suffix: "galore(ip)".
    return word.partition("(")[0].replace("_", " ")


def _database_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith(_LICENCE_PREFIX):
                yield line

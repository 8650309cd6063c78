"""SHA-1, against the standard library's."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from splinter.worker.resp.scripts import SCRIPTS, build_scripts
from splinter.worker.resp.sha1 import DIGEST_BYTES, sha1


def digest(text: bytes) -> bytes:
    memory = np.frombuffer(text + b"x" * DIGEST_BYTES, np.uint8).copy()
    sha1(memory.ctypes.data, len(text), memory.ctypes.data + len(text))
    return memory[len(text) :].tobytes()


def test_every_length_around_a_block_and_some_longer_ones() -> None:
    dice = random.Random(1)
    for length in [*range(200), 1000, 65_536]:
        text = dice.randbytes(length)
        assert digest(text) == hashlib.sha1(text).digest(), length


def test_the_table_of_scripts_says_what_the_list_does() -> None:
    table = build_scripts()
    for entry, script in zip(table, SCRIPTS, strict=True):
        assert entry["digest"].tobytes().hex() == script.digest
        assert entry["name"][: entry["name_length"]].tobytes().decode() == script.extension
        assert entry["arguments"] == script.arguments
    assert len({(script.digest, script.arguments) for script in SCRIPTS}) == len(SCRIPTS)

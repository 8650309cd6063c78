"""Addresses may be computed from 0 in code that is inlined, and functions are compiled for types alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from numba import njit

from splinter.native.parts import part_of

# In a process, and with a cache, of its own: a function is compiled as whoever needs it first has it compiled.
FIND = """
from numba import int64, njit
from splinter.store.index import find_entry

@njit(forceinline=True)
def inlined(store, hashed, identity, key, key_length):
    return find_entry(store, hashed, identity, key, key_length)[1]

@njit
def find_eight_bytes(store, hashed, identity, key, key_length):
    return inlined(store, hashed, identity, key, (key_length | 8) & 8)  # a constant for LLVM, but not for Numba's types

find_eight_bytes.compile((int64,) * 5)
body = find_eight_bytes.inspect_llvm(find_eight_bytes.signatures[0]).split("\\ndefine ")[1].split("\\n}")[0]
print([line.split(",")[0].strip() for line in body.splitlines() if " store i64 " in line])
"""


@njit
def _add(number: int, more: int) -> int:
    return number + more


@njit
def _add_constants(number: int) -> int:
    return _add(_add(number, 3), 4)


def test_a_key_can_be_found_where_its_length_becomes_a_constant(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FIND], env=environment, capture_output=True, text=True, check=True)
    assert "store i64 %" in done.stdout  # what was found, and not only 0


def test_constants_make_no_further_signatures() -> None:
    assert _add_constants(1) == 8
    assert len(part_of(_add).signatures) == 1

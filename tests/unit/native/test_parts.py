"""Functions that others call stay LLVM code; machine code is the same in whatever order it came about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import njit

from splinter.native.parts import part_of

# In a process, and with a cache, of its own. A symbol's name bears a number that says how many came before, and a message that
# bears the name is as long as that has digits.
PROGRAM = """
import re, sys
from numba import int64
from splinter.native.parts import part_of
from splinter.store.hashing import keys_equal
from splinter.store.index import find_entry
from splinter.store.operations import store_find

arguments = {keys_equal: 3, find_entry: 5, store_find: 6}
for name in sys.argv[1].split():
    part_of(globals()[name]).compile((int64,) * arguments[globals()[name]])
store_find.compile((int64,) * 6)
part_of(store_find).compile((int64,) * 6)
results = [part_of(function).overloads[(int64,) * count] for function, count in arguments.items()]
texts = [f"{result.fndesc.inline} {result.library.get_llvm_str()}" for result in results]
texts.append(store_find.overloads[(int64,) * 6].library.get_asm_str())
lines = re.sub(r"B\\d+v\\d+", "", "".join(texts)).splitlines()
print("\\n".join(line for line in lines if "missing Environment" not in line))
"""
ORDERS = ["keys_equal find_entry store_find", "store_find find_entry keys_equal", "find_entry", ""]


@njit
def _double(number: int) -> int:
    return 2 * number


@njit
def _factorial(number: int) -> int:
    return 1 if number < 2 else number * _factorial(number - 1)


@njit(forceinline=True)
def _apply(function: object, number: int) -> int:
    return function(function(number))  # type: ignore[no-any-return, operator]


@njit
def _apply_double(number: int) -> int:
    return _apply(_double, number)


def code(order: str, cache: Path) -> str:
    """All of the machine code, and the LLVM code of its parts, of which those named in ``order`` were compiled first."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, order], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_machine_code_does_not_depend_on_the_order(tmp_path: Path) -> None:
    found = {order: code(order, tmp_path / str(number)) for number, order in enumerate(ORDERS)}
    assert len(set(found.values())) == 1
    assert "store_find" in found[""]


def test_a_part_makes_no_entry_of_what_is_called() -> None:
    assert _apply_double(3) == 12
    assert not _double.signatures
    assert len(part_of(_double).signatures) == 1
    assert _double(1) == 2


def test_a_part_cannot_be_called() -> None:
    part = part_of(_double)
    assert part_of(part) is part
    with pytest.raises(TypeError):
        part(1)


def test_a_function_may_call_itself() -> None:
    assert _factorial(5) == 120

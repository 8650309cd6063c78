"""A record reads and writes what its dtype says, at its address, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from splinter.errors import Status
from splinter.layout import offset
from splinter.native.atomics import fetch_add32, load64_acquire, store64_release
from splinter.native.parts import part_of
from splinter.native.records import record

_PAIR = np.dtype([("first", "<u8"), ("second", "<u8")])
_DTYPE = np.dtype(
    [
        ("byte", "u1"),
        ("half", "<u2"),  # not aligned
        ("word", "<u4"),
        ("long", "<u8"),
        ("signed", "<i8"),
        ("narrow", "<i4"),
        ("pair", _PAIR),
        ("pairs", _PAIR, 3),
        ("words", "<u4", 5),
        ("last", "<u4"),
    ]
)
Sample, Pair = record(_DTYPE), record(_PAIR)
_SCALARS = ("byte", "half", "word", "long", "signed", "narrow", "last")


def _sample() -> np.ndarray:
    """One record, every byte of which is set."""
    return np.full(_DTYPE.itemsize, 0xFF, dtype=np.uint8).view(_DTYPE)


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_reads_are_extended_to_64_bits_by_the_sign_of_the_field() -> None:
    @njit
    def run(address: int) -> tuple[int, int, int, int, int, int, int]:
        sample = Sample(address)
        return sample.byte, sample.half, sample.word, sample.long, sample.signed, sample.narrow, sample.last

    memory = _sample()
    assert run(_address(memory)) == (0xFF, 0xFFFF, 0xFFFFFFFF, -1, -1, -1, 0xFFFFFFFF)
    memory[0] = (1, 2, 3, 4, -5, -6, (0, 0), [(0, 0)] * 3, [0] * 5, 7)
    assert run(_address(memory)) == (1, 2, 3, 4, -5, -6, 7)


def test_writes_are_truncated_and_leave_their_neighbours_alone() -> None:
    @njit
    def run(address: int, value: int) -> None:
        sample = Sample(address)
        sample.byte = value
        sample.half = value
        sample.word = value
        sample.long = value
        sample.signed = value
        sample.narrow = value
        sample.last = value

    memory, expected, value = _sample(), _sample(), 0x1234567890ABCDEF
    run(_address(memory), value)
    for field in _SCALARS:
        bits = _DTYPE[field].itemsize * 8
        expected[field].view(f"<u{bits // 8}")[:] = value & (1 << bits) - 1
    assert memory.tobytes() == expected.tobytes()


def test_what_is_written_may_be_of_any_integer_type() -> None:
    @njit
    def run(address: int, condition: bool, narrow: np.uint8) -> None:
        sample = Sample(address)
        sample.byte = condition
        sample.half = narrow
        sample.word = Status.BUSY
        sample.long = np.uint64(1 << 63)
        sample.last += 2

    memory = _sample()
    run(_address(memory), True, np.uint8(200))
    assert [int(memory[field][0]) for field in ("byte", "half", "word", "long", "last")] == [1, 200, Status.BUSY, 1 << 63, 1]


def test_fields_of_several_are_addresses() -> None:
    @njit
    def run(address: int) -> tuple[int, int, int, int]:
        sample = Sample(address)
        Pair(sample.pair).second = 7
        Pair(sample.pairs + 16).first = 8
        return sample.pair, sample.pairs, sample.words, Pair(sample.pair).second

    memory = _sample()
    start = _address(memory)
    assert run(start) == (*(start + offset(_DTYPE, field) for field in ("pair", "pairs", "words")), 7)
    assert memory["pairs"][0]["first"][1] == 8


def test_a_record_within_another_is_read_by_the_address_of_that_one() -> None:
    Inner = record(_PAIR, behind=offset(_DTYPE, "pair"))

    @njit
    def run(address: int) -> tuple[int, int]:
        inner = Inner(address)
        inner.first += 3
        return inner.first, inner.at.second

    memory = _sample()
    memory["pair"]["first"] = 4
    start = _address(memory)
    assert run(start) == (7, start + offset(_DTYPE, "pair") + offset(_PAIR, "second"))
    assert memory["pair"]["first"] == 7


def test_every_field_has_an_address_for_ordered_accesses() -> None:
    dtype = np.dtype([("long", "<u8"), ("count", "<u4"), ("words", "<u4", 3)])
    Aligned = record(dtype)

    @njit
    def run(address: int) -> tuple[int, int, int]:
        aligned = Aligned(address)
        store64_release(aligned.at.long, 5)
        return load64_acquire(aligned.at.long), fetch_add32(aligned.at.count, 1), aligned.at.words

    memory = np.zeros(1, dtype=dtype)
    assert run(_address(memory)) == (5, 0, _address(memory) + offset(dtype, "words"))
    assert memory["long"] == 5 and memory["count"] == 1


def test_a_record_is_a_value_of_its_own_kind_on_every_path() -> None:
    @njit
    def run(one: int, other: int, count: int) -> int:
        found = Sample(one)
        total = 0
        for number in range(count):
            if number % 2 == 1:
                found = Sample(other)
            total += found.word
            found.word = 0
        return total

    first, second = _sample(), _sample()
    first["word"], second["word"] = 3, 4
    assert run(_address(first), _address(second), 4) == 7


def test_functions_that_take_addresses_are_compiled_once() -> None:
    @njit
    def inner(address: int) -> int:
        return Pair(address).first

    @njit
    def outer(address: int) -> int:
        sample = Sample(address)
        return inner(sample.pair) + inner(sample.at.pairs)

    memory = _sample()
    memory["pair"]["first"], memory["pairs"]["first"] = 1, 2
    assert outer(_address(memory)) == 3
    assert len(part_of(inner).signatures) == 1


def test_equal_dtypes_make_equal_records_and_others_do_not() -> None:
    Twin, Other = record(np.dtype(_PAIR.descr)), record(np.dtype([("second", "<u8"), ("first", "<u8")]))

    @njit
    def twins(address: int, condition: bool) -> int:
        found = Pair(address)
        if condition:
            found = Twin(address)
        return found.first

    @njit
    def others(address: int, condition: bool) -> int:
        found = Pair(address)
        if condition:
            found = Other(address)
        return found.first

    memory = np.array([(1, 2)], dtype=_PAIR)
    assert twins(_address(memory), True) == 1
    with pytest.raises(NumbaError, match="unify"):
        others(_address(memory), True)


def test_a_field_that_is_not_there_is_refused() -> None:
    @njit
    def read(address: int) -> int:
        return Sample(address).bite

    @njit
    def write(address: int) -> None:
        Sample(address).bite = 1

    @njit
    def place(address: int) -> int:
        return Sample(address).at.bite

    for function in (read, write, place):
        with pytest.raises(NumbaError, match="bite"):
            function(_address(_sample()))


@pytest.mark.parametrize("field", ["pair", "pairs", "words", "at"])
def test_an_address_cannot_be_written(field: str) -> None:
    names: dict[str, object] = {"Sample": Sample}
    exec(f"def run(address):\n    Sample(address).{field} = 1", names)
    with pytest.raises(NumbaError):
        njit(names["run"])(_address(_sample()))


def test_a_float_is_no_address() -> None:
    @njit
    def run(address: float) -> int:
        return Sample(address).byte

    with pytest.raises(NumbaError):
        run(1.5)


@pytest.mark.parametrize("kind", ["<f8", ">i4", "S8", ">u4"])
def test_a_field_that_would_be_read_wrongly_is_refused(kind: str) -> None:
    with pytest.raises(TypeError, match="'odd'"):
        record(np.dtype([("fine", "<u8"), ("odd", kind)]))


def test_a_field_called_at_is_refused() -> None:
    with pytest.raises(TypeError, match="'at'"):
        record(np.dtype([("at", "<u8")]))

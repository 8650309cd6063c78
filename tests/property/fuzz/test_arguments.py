"""Whatever bytes come as arguments, an extension reads its own arguments or ends with ARGUMENTS."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from splinter.ext import ExtensionFault
from splinter.ext.abi import ExtensionError
from tests.property.fuzz.fuzzing import FUZZING, Note, hold_in_child
from tests.property.hostile.corpus import invocations
from tests.support import forms

U32 = (1 << 32) - 1
HEAD = invocations.HEAD
OFFSETS = st.one_of(st.integers(0, 80), st.integers(0, U32), st.sampled_from([HEAD - 1, HEAD, HEAD + 1, U32, 1 << 31]))
BLOCKS = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda a, k, m, flag, tail, end: invocations.WORDS.pack(a, k[0] | k[1] << 32, flag, m[0] | m[1] << 32) + tail[:end],
        st.integers(-(2**40), 2**40),
        st.tuples(OFFSETS, OFFSETS),
        st.tuples(OFFSETS, OFFSETS),
        st.sampled_from([0, 1, 1, 0, 2, 1 << 63]),
        st.binary(max_size=64),
        st.integers(0, 64),
    ),
    st.builds(  # the one that is right, cut somewhere
        lambda k, m, end: invocations.block((HEAD, len(k)), (HEAD + len(k), len(m)), 1, k + m)[:end],
        st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 80),
    ),
)  # fmt: skip


def expected(block: bytes) -> int | None:
    """The answer by docs/reference/protocol.md: None where the arguments do not fit."""
    if len(block) < HEAD:
        return None
    a, flag = struct.unpack_from("<q", block)[0], struct.unpack_from("<Q", block, 16)[0]
    if flag > 1:
        return None
    total = a + 500 * flag
    for at, factor in ((8, 1000), (24, 1_000_000)):
        start, length = struct.unpack_from("<II", block, at)
        if start < HEAD or start + length > len(block):
            return None
        content = block[start : start + length]
        total += factor * length + (content[0] ^ content[-1] if content else 0)
    return int(total)


def test_argument_blocks_are_read_as_documented_or_refused() -> None:
    runs = [(one, pattern) for (one,) in forms.make([forms.accepted(invocations.SOURCE)]) for pattern in forms.PATTERNS]

    def make(note: Note) -> Any:
        @FUZZING
        @given(BLOCKS)
        def holds(block: bytes) -> None:
            note(block.hex())
            for made, pattern in runs:
                with forms.PoisonedRunner(pattern=pattern) as runner:
                    try:
                        got: int | None = runner.run_packed(made, block)
                    except ExtensionFault as fault:
                        if fault.error is ExtensionError.OVERFLOW:  # of the first word: eight random bytes are a large number
                            return
                        assert fault.error is ExtensionError.ARGUMENTS
                        got = None
                assert got == expected(block)

        return holds

    hold_in_child(make)

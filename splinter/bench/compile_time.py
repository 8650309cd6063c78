"""From source text to code that could be called: compiled, and written to where workers run it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from splinter.bench.control import TRIES
from splinter.bench.figure import Figure, medians
from splinter.bench.rounds import in_turns
from splinter.bench.sources import numbered, source
from splinter.ext.code import CodeRegion
from splinter.ext.compile import compile_extensions
from splinter.ext.library import entry, text

ROUNDS_DEFAULT = 15
_TWENTY_LINES = "common_ancestor"


def measure(rounds: int = ROUNDS_DEFAULT) -> list[Figure]:
    """``compile`` and ``compile-tao``."""
    short, tao, count = source(_TWENTY_LINES), text("tao"), len(entry("tao").sources)
    # Each round has a text of its own: the compiler remembers what it has just seen.
    with contextlib.closing(CodeRegion.create()) as region:
        _compile(short, region)  # LLVM takes its time to load
        texts = {name: numbered(one, 0, rounds * TRIES) for name, one in (("short", short), ("tao", tao))}
        slices = {name: partial(_compile_next, text_of, region) for name, text_of in texts.items()}
        found = in_turns(slices, rounds)
    return [
        Figure(
            "compile",
            f"source to callable, {len(short.splitlines())} lines",
            "ms",
            found.each(lambda taken: taken["short"][0]),
            medians(cpu_ms=found.of("short", lambda spent: spent[1])),
            left_out=found.left_out,
        ),
        Figure(
            "compile-tao",
            f"source to callable, all {count} extensions of TAO",
            "ms",
            found.each(lambda taken: taken["tao"][0]),
            medians(cpu_ms=found.of("tao", lambda spent: spent[1])),
            left_out=found.left_out,
        ),
    ]


def _compile_next(texts: Iterator[str], region: CodeRegion) -> tuple[float, float]:
    return _compile(next(texts), region)


def _compile(source_text: str, region: CodeRegion) -> tuple[float, float]:
    """Milliseconds that passed, and of the CPU's time: on a busy machine they differ. As an installation of the source."""
    start, cpu = time.perf_counter(), time.thread_time()
    blocks = {one.source_digest: one.code for one in compile_extensions(source_text, every=True)}
    offsets = [region.write(code)[1] for code in blocks.values()]
    spent = (time.perf_counter() - start) * 1000, (time.thread_time() - cpu) * 1000
    for offset in offsets:
        region.free(offset)
    return spent

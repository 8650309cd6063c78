"""From source text to code that could be called: compiled, and written to where workers run it."""

from __future__ import annotations

import contextlib
import time

from splinter.bench.figure import Figure, medians
from splinter.bench.sources import numbered, source
from splinter.ext.code import CodeRegion
from splinter.ext.compile import compile_source
from splinter.ext.library import entry

ROUNDS_DEFAULT = 15
_TWENTY_LINES = "common_ancestor"


def measure(rounds: int = ROUNDS_DEFAULT) -> list[Figure]:
    """``compile`` and ``compile-tao``."""
    short, tao = source(_TWENTY_LINES), entry("tao").sources
    # Each round has texts of its own: the compiler may remember what it has just seen.
    with contextlib.closing(CodeRegion.create()) as region:
        rounds_of = {name: list(numbered(text, 0, rounds)) for name, text in tao.items()}
        _compile({_TWENTY_LINES: short}, region)  # LLVM takes its time to load
        once = [_compile({_TWENTY_LINES: text}, region) for text in numbered(short, 0, rounds)]
        whole = [_compile({name: texts[i] for name, texts in rounds_of.items()}, region) for i in range(rounds)]
    return [
        Figure(
            "compile",
            f"source to callable, {len(short.splitlines())} lines",
            "ms",
            tuple(wall for wall, _ in once),
            medians(cpu_ms=[cpu for _, cpu in once]),
        ),
        Figure(
            "compile-tao",
            f"source to callable, all {len(tao)} extensions of TAO",
            "ms",
            tuple(wall for wall, _ in whole),
            medians(cpu_ms=[cpu for _, cpu in whole]),
        ),
    ]


def _compile(sources: dict[str, str], region: CodeRegion) -> tuple[float, float]:
    """Milliseconds that passed, and of the CPU's time: on a busy machine they differ."""
    start, cpu = time.perf_counter(), time.thread_time()
    offsets = [region.write(compile_source(text, name).code)[1] for name, text in sources.items()]
    spent = (time.perf_counter() - start) * 1000, (time.thread_time() - cpu) * 1000
    for offset in offsets:
        region.free(offset)
    return spent

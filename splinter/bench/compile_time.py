"""From source text to code that could be called: compiled, and written to where workers run it."""

from __future__ import annotations

import contextlib
import time

from splinter.bench.figure import Figure, medians
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
        once = [_compile(source_text, region) for source_text in numbered(short, 0, rounds)]
        whole = [_compile(source_text, region) for source_text in numbered(tao, 0, rounds)]
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
            f"source to callable, all {count} extensions of TAO",
            "ms",
            tuple(wall for wall, _ in whole),
            medians(cpu_ms=[cpu for _, cpu in whole]),
        ),
    ]


def _compile(source_text: str, region: CodeRegion) -> tuple[float, float]:
    """Milliseconds that passed, and of the CPU's time: on a busy machine they differ. As an installation of the source."""
    start, cpu = time.perf_counter(), time.thread_time()
    blocks = {one.source_digest: one.code for one in compile_extensions(source_text, every=True)}
    offsets = [region.write(code)[1] for code in blocks.values()]
    spent = (time.perf_counter() - start) * 1000, (time.thread_time() - cpu) * 1000
    for offset in offsets:
        region.free(offset)
    return spent

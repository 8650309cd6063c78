"""From source text to code that could be called: compiled, and written to where workers run it.

Beside CPython's own compilation of the same text to bytecode, which is made of the same kind of work: a machine that is slow,
or slow for a while, is so for both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from splinter.ext.compile import compile_extensions
from splinter.ext.library import entry, text
from splinter.ext.native.code import CodeRegion
from splinter_bench.control import TRIES
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns
from splinter_bench.workloads.sources import numbered, source

_ROUNDS = 15
_TWENTY_LINES = "common_ancestor"
_CPYTHON_TIMES = 20  # a slice of CPython's compilations; one alone takes but a tenth of a millisecond


def measure(bench: Bench) -> Observations:
    """Of ``compile`` and ``compile-tao``."""
    rounds = bench.count(_ROUNDS)
    sources = {"short": source(_TWENTY_LINES), "tao": text("tao")}
    with contextlib.closing(CodeRegion.create()) as region:
        _compile(sources["short"], region)  # LLVM takes its time to load
        # Each round has a text of its own: the compiler remembers what it has just seen.
        texts = {name: numbered(one, 0, rounds * TRIES) for name, one in sources.items()}
        slices = {name: partial(_compile_next, text_of, region) for name, text_of in texts.items()}
        slices |= {f"{name} CPython": partial(_compile_by_cpython, one) for name, one in sources.items()}
        found = in_turns(slices, rounds)
    found.settings |= {"short_lines": len(sources["short"].splitlines()), "tao_extensions": len(entry("tao").sources)}
    return found


def _compile_by_cpython(source_text: str) -> dict[str, float]:
    """As :func:`_compile`, for one compilation of several."""
    start, cpu = time.perf_counter(), time.thread_time()
    for _ in range(_CPYTHON_TIMES):
        compile(source_text, "<source>", "exec")
    return _spent(start, cpu, _CPYTHON_TIMES)


def _compile_next(texts: Iterator[str], region: CodeRegion) -> dict[str, float]:
    return _compile(next(texts), region)


def _compile(source_text: str, region: CodeRegion) -> dict[str, float]:
    """Milliseconds that passed, and of the CPU's time: on a busy machine they differ. As an installation of the source."""
    start, cpu = time.perf_counter(), time.thread_time()
    blocks = {one.source_digest: one.code for one in compile_extensions(source_text, every=True)}
    offsets = [region.write(code)[1] for code in blocks.values()]
    spent = _spent(start, cpu)
    for offset in offsets:
        region.free(offset)
    return spent


def _spent(start: float, cpu: float, times: int = 1) -> dict[str, float]:
    """Milliseconds since ``start``, and of the thread's CPU time since ``cpu``, each of so many times."""
    return {
        "ms": (time.perf_counter() - start) * 1000 / times,
        "cpu_ms": (time.thread_time() - cpu) * 1000 / times,
    }

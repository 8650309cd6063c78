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
from splinter_bench.figure import Figure, medians
from splinter_bench.rounds import in_turns
from splinter_bench.sources import numbered, source

ROUNDS_DEFAULT = 15
_TWENTY_LINES = "common_ancestor"
_CPYTHON_TIMES = 20  # a slice of CPython's compilations; one alone takes but a tenth of a millisecond


def measure(rounds: int = ROUNDS_DEFAULT) -> list[Figure]:
    """``compile`` and ``compile-tao``: time over CPython's for the same text; parts are milliseconds."""
    short, tao, count = source(_TWENTY_LINES), text("tao"), len(entry("tao").sources)
    # Each round has a text of its own: the compiler remembers what it has just seen.
    with contextlib.closing(CodeRegion.create()) as region:
        _compile(short, region)  # LLVM takes its time to load
        texts = {name: numbered(one, 0, rounds * TRIES) for name, one in (("short", short), ("tao", tao))}
        ours = {name: partial(_compile_next, text_of, region) for name, text_of in texts.items()}
        theirs = {_cpython(name): partial(_compile_by_cpython, one) for name, one in (("short", short), ("tao", tao))}
        found = in_turns(ours | theirs, rounds)

    def figure(figure_name: str, name: str, what: str) -> Figure:
        return Figure(
            figure_name,
            f"source to callable, {what}, over CPython's compilation of the text",
            "×",
            found.each(lambda taken: taken[name][0] / taken[_cpython(name)][0]),
            medians(
                ms=found.of(name, lambda spent: spent[0]),
                cpu_ms=found.of(name, lambda spent: spent[1]),
                cpython_ms=found.of(_cpython(name), lambda spent: spent[0]),
            ),
            left_out=found.left_out,
        )

    return [
        figure("compile", "short", f"{len(short.splitlines())} lines"),
        figure("compile-tao", "tao", f"all {count} extensions of TAO"),
    ]


def _cpython(name: str) -> str:
    return f"{name}, CPython"


def _compile_by_cpython(source_text: str) -> tuple[float, float]:
    """As :func:`_compile`, for one compilation of several."""
    start, cpu = time.perf_counter(), time.thread_time()
    for _ in range(_CPYTHON_TIMES):
        compile(source_text, "<source>", "exec")
    return (time.perf_counter() - start) * 1000 / _CPYTHON_TIMES, (time.thread_time() - cpu) * 1000 / _CPYTHON_TIMES


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

"""Runs many random programs that only read in the kernel: ``scripts/fuzz --programs N --kernel``.

Each runs under CPython, compiled in this process, and in the kernel, by a test run of the server's XDP program over a real
store. The kernel either gives the same result or leaves the request to a worker; it must do so for every error, and may for
little else.
"""

from __future__ import annotations

import collections
import time
from typing import Any

from splinter.errors import CompileError
from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import MAY_WRITE
from splinter.ext.compile import compile_source
from splinter.ext.python.instrument import python_function
from tests.property.fuzz.campaign import OBJECTS, REPORT_SECONDS, Failure
from tests.property.fuzz.programs import Case, make_case
from tests.property.fuzz.reading import ReadingProgram
from tests.property.hostile.in_child import in_child
from tests.support.forms import accepted, same
from tests.support.kernel_world import KernelWorld
from tests.support.runner import Runner

CHUNK = 200  # programs of one process: LLVM may end it
CHUNK_SECONDS_MAX = 600
SAME, LEFT, ERROR, REFUSED, UNFIT = "the same", "left to the worker", "errors left to it", "refused", "not for the kernel"


def local_store(versions: dict[tuple[int, bytes], int]) -> LocalStore:
    """The objects for CPython, in the versions that the kernel's store has."""
    store = LocalStore()
    for (table, key), value in OBJECTS.items():
        store.put(table, key, value)
    store.versions.update(versions)
    return store


def try_case(world: KernelWorld, versions: dict[tuple[int, bytes], int], case: Case) -> str:
    """Run one program in all worlds; what came of it. Raises :class:`Failure`."""
    try:
        program = accepted(case.source)
        compiled = compile_source(case.source, kernel=True)
    except CompileError:
        return REFUSED
    if compiled.isolation & MAY_WRITE or not compiled.kernel.object_file:
        return UNFIT
    if world.install(compiled):
        raise Failure(f"the kernel's verifier refuses it:\n{case.source}")
    told = world.invoke(compiled, *case.arguments)
    local = local_store(versions)
    local.preload(case.source, program, python_function(program, "<source>", 0))
    try:
        expected: Any = [local.invoke(case.source, *case.arguments)]
    except ExtensionFault:
        expected = None
    if expected is None:
        if told is not None:
            raise Failure(f"the kernel has {told} in place of an error, with {case.arguments}:\n{case.source}")
        return ERROR
    with Runner(local_store(versions)) as runner:
        compiled_result = runner.run(compiled, *case.arguments)
    if not same(compiled_result, expected[0]) or (told is not None and not same(told[0], expected[0])):
        raise Failure(f"{told}, {compiled_result} in place of {expected}, with {case.arguments}:\n{case.source}")
    return LEFT if told is None else SAME


def run_chunk(seed: int, first: int, count: int, note: Any) -> collections.Counter[str]:
    """Run programs ``first`` and following; how many came to what."""
    outcomes: collections.Counter[str] = collections.Counter()
    world = KernelWorld()
    versions = world.put(OBJECTS)
    for number in range(first, first + count):
        note(f"program {number} of seed {seed}, in the kernel")
        outcomes[try_case(world, versions, make_case(seed, number, kind=ReadingProgram))] += 1
    world.close()
    return outcomes


def campaign(programs: int, seed: int, first: int, seconds: float) -> int:
    """Run programs ``first`` and following, one process after the other; the exit status."""
    outcomes: collections.Counter[str] = collections.Counter()
    begun = shown = time.monotonic()
    for start in range(first, first + programs, CHUNK):
        count = min(CHUNK, first + programs - start)
        if time.monotonic() - begun > seconds:
            break
        try:
            outcomes += in_child(lambda note, s=start, c=count: run_chunk(seed, s, c, note), CHUNK_SECONDS_MAX)
        except AssertionError as failure:
            print(f"{failure}\nagain: scripts/fuzz --programs {CHUNK} --kernel --seed {seed} --first {start}")
            return 1
        if time.monotonic() - shown > REPORT_SECONDS:
            shown = time.monotonic()
            print(_summary(outcomes, seed, shown - begun), flush=True)
    print(_summary(outcomes, seed, time.monotonic() - begun))
    return 0


def _summary(outcomes: collections.Counter[str], seed: int, seconds: float) -> str:
    told = ", ".join(f"{outcomes[what]} {what}" for what in (SAME, LEFT, ERROR, REFUSED, UNFIT))
    return f"in the kernel: {told}; {sum(outcomes.values()) / max(seconds, 1e-9):.1f} programs/s; seed {seed}"

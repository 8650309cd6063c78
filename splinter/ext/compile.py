"""Source text to installable machine code: the stages in their order."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from splinter.errors import CompileError
from splinter.ext.abi import Isolation, ResultKind
from splinter.ext.front.check import check_all, check_library
from splinter.ext.front.checked import Library, Program
from splinter.ext.front.desugar import desugar
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.parse import Module, choose, choose_all, head, option, parse
from splinter.ext.kernel.code import KernelCode, kernel_code, refuse_place
from splinter.ext.middle import ir
from splinter.ext.middle.builder import TooLargeError, UntranslatedError, Work
from splinter.ext.middle.checkpoints import insert_checkpoints
from splinter.ext.middle.effort import waits_for_store
from splinter.ext.middle.first_lookup import FirstLookup, first_lookup
from splinter.ext.middle.liveness import place
from splinter.ext.middle.lower import lower, result_kind
from splinter.ext.middle.simplify import simplify
from splinter.ext.middle.verifier import UnprovenError, verify
from splinter.ext.native import llvm_text, machine
from splinter.ext.signature import Signature
from splinter.limits import CODE_BYTES_MAX, THOROUGH_INSTRUCTIONS_MAX, TOGETHER_INSTRUCTIONS_MAX
from splinter.recent import Recent

INTERNAL_MESSAGE_CHARACTERS_MAX = 300
RECENT_SOURCES_MAX = 4
INTERNAL_HINT = "write it in another way; the fault is not yours, so please report the source"
SPLIT_HINT = "keep less, split the extension, or install the extensions of the source one at a time"

# What the last few sources gave: extensions of one source are compiled one after the other.
_lock = threading.Lock()
_modules: Recent[str, Module] = Recent(RECENT_SOURCES_MAX)
_libraries: Recent[str, Library] = Recent(RECENT_SOURCES_MAX)


_LIBRARY = re.compile(r"#!python[ \t]+name=([A-Za-z0-9_]{1,64})[ \t\r]*(?:\n|$)")


@dataclass(frozen=True)
class CompiledExtension:
    """All that a record in the store and the code region need. Extensions compiled together share one block of code."""

    name: str
    signature: Signature
    code: bytes  # position-independent
    entry: int  # where in it the extension begins, in bytes
    frame_bytes: int  # header and locals
    result_kind: ResultKind
    source_digest: bytes  # SHA-256 of the source and of how it was compiled: the same ``code`` has the same digest
    first_lookup: FirstLookup  # a hint for the worker
    isolation: Isolation
    kernel: KernelCode
    library: str  # what ``#!python name=…``, the first line of the source, says; empty: there is none such


def compile_source(
    source: str, name: str | None = None, *, preempt: bool = True, kernel: bool = False, filename: str = "<source>"
) -> CompiledExtension:
    """Check and compile one extension.

    ``name`` is what it will be installed as (default: the function's own), and which function is meant if the source has
    several. ``preempt=False`` leaves out the inserted yields. ``filename`` is for messages. Raises :class:`CompileError`, and
    nothing else, for whatever is wrong with the source.

    ``kernel`` is for a process that may come to its end: code for the kernel's tier as well, on which LLVM can end it.
    """
    return compile_extensions(source, name, preempt=preempt, kernel=kernel, filename=filename)[0]


def compile_extensions(
    source: str,
    name: str | None = None,
    *,
    every: bool = False,
    preempt: bool = True,
    kernel: bool = False,
    filename: str = "<source>",
) -> list[CompiledExtension]:
    """The same for one extension or, with ``every`` (and no ``name``), for all of the source together, each by its own name.

    Parsing, what they share, and LLVM's own overhead are paid once then.
    """
    findings, line = Findings(source, filename), 1
    try:
        with _no_collection():
            return _compile(source, name, every, preempt, kernel, findings)
    except CompileError:
        raise
    except (RecursionError, MemoryError):
        line, finding = (
            1,
            ("nesting", "the source is nested too deeply", "put parts of expressions into variables of their own"),
        )
    except UnprovenError as error:
        message = f"the compiler cannot show that this does no harm: {error}"
        line, finding = max(error.line, 1), ("unproven", message, "please report this source")
    except TooLargeError as error:
        line, finding = error.line, ("too-large", str(error), SPLIT_HINT)
    except UntranslatedError as error:
        line, finding = error.line, _internal(str(error))
    except Exception as error:
        # A fault of the compiler's, LLVM's verifier or the linker's refusal: refusing the source is the safe answer.
        line, finding = 1, _internal(f"{type(error).__name__}: {error}")
    findings.muted = False
    findings.add_at(line, 1, *finding)
    raise findings.error()


def library_name(source: str) -> str:
    """The library that a source says it is, by a first line as Redis has it; empty: it says none."""
    found = _LIBRARY.match(source)
    return found[1] if found else ""


def _internal(reason: str) -> tuple[str, str, str]:
    """Rule, message and hint of a finding that is the compiler's fault."""
    message = f"this may be right, and the compiler fails at it: {reason}"
    return "internal", message[:INTERNAL_MESSAGE_CHARACTERS_MAX], INTERNAL_HINT


def warm_up(kernel: bool = False) -> None:
    """Compile something in all ways: the first time in a process, LLVM takes some 25 ms to get ready."""
    for statement in ("db.put(1, 1, 1)", "while True: yield"):
        compile_source(f"@extension\ndef warm_up(db: Store) -> None:\n    {statement}", kernel=kernel)
    machine.compile_routines()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Syntax trees are enough objects to set off collections, which go over all of the process's: a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _front(source: str, findings: Findings) -> tuple[Module, Library]:
    """Parse a source and check what its extensions share, once for all of them when they are compiled in a row."""
    module = _modules.get(source)
    if module is None:
        module = parse(source, findings)
        desugar(module)
        if not findings.diagnostics:
            with _lock:
                _modules.note(source, module)
    shared = _shared_text(module, findings)
    library = _libraries.get(shared)
    if library is None:
        library = check_library(module, findings)
        if not findings.diagnostics:
            with _lock:
                _libraries.note(shared, library)
    return module, library


def _shared_text(module: Module, findings: Findings) -> str:
    """The source without its extensions, all lines in their places: sources that share it share what is checked of it."""
    lines = list(findings.lines)
    for function in module.extensions:
        first = min(function.lineno, *(decorator.lineno for decorator in function.decorator_list))
        last = function.end_lineno or function.lineno
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(lines).rstrip("\n")


@dataclass(frozen=True)
class _Native:
    """Machine code of some of a source's extensions, which are in ``functions``; the rest by their places there."""

    functions: list[ir.Function]
    code: bytes
    entries: list[int]
    frame_bytes: list[int]


def _back(functions: dict[ir.Function, ResultKind], preempt: bool) -> list[_Native]:
    """Machine code: one block of what is compiled quickly, and one of what is compiled thoroughly."""
    quick: list[ir.Function] = []
    thorough: list[ir.Function] = []
    room, total = THOROUGH_INSTRUCTIONS_MAX, 0
    for function in functions:
        simplify(function)
        size = function.size
        total += size
        if total > TOGETHER_INSTRUCTIONS_MAX:
            raise TooLargeError(f"the extensions have more than {TOGETHER_INSTRUCTIONS_MAX} instructions together")
        if size > room or waits_for_store(function):
            quick.append(function)
        else:
            thorough.append(function)
            room -= size
        if preempt:
            insert_checkpoints(function)
    made = []
    if quick:
        try:
            made.append(_native(functions, quick, preempt, is_quick=True))
        except TooLargeError:  # what is compiled thoroughly takes less room, and a lot more time
            if total > 2 * THOROUGH_INSTRUCTIONS_MAX:
                raise
            thorough = [function for function in functions if function in quick or function in thorough]
    if thorough:
        made.append(_native(functions, thorough, preempt, is_quick=False))
    return made


def _native(results: dict[ir.Function, ResultKind], functions: list[ir.Function], preempt: bool, is_quick: bool) -> _Native:
    placed = [(function, place(function, preempt, in_frame=is_quick)) for function in functions]
    for function, placement in placed:
        verify(function, placement, results[function])
    emitted = llvm_text.emit(placed)
    linked = machine.machine_code(emitted, is_quick)
    if len(linked.code) > CODE_BYTES_MAX:
        raise TooLargeError(f"{len(linked.code)} bytes of machine code; at most {CODE_BYTES_MAX} are possible")
    return _Native(functions, linked.code, linked.entries, [placement.frame_bytes for _, placement in placed])


def _kernel(function: ir.Function, program: Program, preempt: bool, is_asked: bool, findings: Findings) -> KernelCode:
    """Code for the kernel's tier, or why there is none; raises :class:`CompileError` where the author insists on it."""
    wanted = option(program.extension.function, "place")
    if not is_asked:
        return KernelCode(is_required=wanted == "kernel")
    if not preempt:
        insert_checkpoints(function)
    made = kernel_code(function, program, result_kind(program.extension.result), wanted)
    if made.is_required and not made.object_file:
        refuse_place(findings, made, head(program.extension.function).lineno)
    return made


def _compile(
    source: str, name: str | None, every: bool, preempt: bool, kernel: bool, findings: Findings
) -> list[CompiledExtension]:
    if not isinstance(source, str) or not (name is None or isinstance(name, str)):
        raise CompileError([], "source and name must be text")
    module, library = _front(source, findings)
    chosen = choose_all(module, findings) if every else [choose(module, name, findings)]
    programs = check_all(chosen, library, name, findings)
    work = Work()
    lowered = {lower(program, work): program for program in programs}
    compiled: dict[ir.Function, CompiledExtension] = {}
    results = {function: result_kind(program.extension.result) for function, program in lowered.items()}
    for native in _back(results, preempt):
        members = [lowered[function].extension.function.name for function in native.functions]
        digest = hashlib.sha256(f"{','.join(members)}\0{preempt}\0{source}".encode()).digest()
        for function, entry, frame_bytes in zip(native.functions, native.entries, native.frame_bytes, strict=True):
            program = lowered[function]
            compiled[function] = CompiledExtension(
                name=program.signature.name,
                signature=program.signature,
                code=native.code,
                entry=entry,
                frame_bytes=frame_bytes,
                result_kind=results[function],
                source_digest=digest,
                first_lookup=first_lookup(function),
                isolation=program.isolation,
                kernel=_kernel(function, program, preempt, kernel, findings),
                library=library_name(source),
            )
    for function in lowered:
        for block in function.blocks:
            block.terminator = None  # blocks in a circle would be left to the collector, which goes over many more objects
    return [compiled[function] for function in lowered]

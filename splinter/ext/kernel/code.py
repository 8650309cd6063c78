"""What the compiler has for the kernel's tier of an extension: code, or why there is none."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import NoReturn

from splinter.ext.abi import ResultKind
from splinter.ext.front.checked import Program
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.parse import head
from splinter.ext.kernel import emit, machine
from splinter.ext.kernel.fit import UnfitError, require_fit
from splinter.ext.middle import ir
from splinter.ext.middle.builder import TooLargeError
from splinter.ext.middle.liveness import place
from splinter.ext.middle.verifier import verify
from splinter.ext.types import F64
from splinter.limits import EXTENSION_OBJECT_BYTES_MAX

_BY_AUTHOR = "its author placed it there"


@dataclass(frozen=True)
class KernelCode:
    """Of one extension. Without an ``object_file`` it runs in the worker; ``reason`` says why, and ``line`` where, if not 0."""

    object_file: bytes = b""  # ELF, to be linked with bpf/extension.c
    identity: int = 0  # 64 random bits that the code knows, too: a call of other code comes to nothing
    reason: str = ""
    line: int = 0
    is_required: bool = False  # by `@extension(place="kernel")`

    @property
    def text(self) -> str:
        """The reason with its line."""
        return f"line {self.line}: {self.reason}" if self.line else self.reason


def refuse_place(findings: Findings, code: KernelCode, line: int) -> NoReturn:
    """Refuse an extension that must be in the kernel, and cannot. ``line`` is that of its definition."""
    hint = "write it in another way, or leave out the place: a worker runs it then"
    findings.add_at(code.line or line, 1, "place", f"this cannot run in the kernel: {code.reason}", hint)
    raise findings.error()


def kernel_code(function: ir.Function, program: Program, result: ResultKind, wanted: str) -> KernelCode:
    """Compile an extension, from its function whose blocks were cut at checkpoints. ``wanted``: where its author placed it, or
    ``""``."""
    if wanted == "worker":
        return KernelCode(reason=_BY_AUTHOR)
    is_required = wanted == "kernel"
    try:
        placement = place(function, preempt=True, in_frame=True)
        require_fit(function, placement, program.isolation, _float_line(program))
    except UnfitError as unfit:
        return KernelCode(reason=str(unfit), line=unfit.line, is_required=is_required)
    except TooLargeError as error:
        return KernelCode(reason=str(error), is_required=is_required)
    verify(function, placement, result)
    identity = secrets.randbits(63) | 1
    try:
        made = machine.object_file(emit.emit(function, placement, result, identity))
    except RuntimeError:  # LLVM refuses the module, or was built without BPF: no reason to refuse the extension
        return KernelCode(reason="LLVM makes no code of it for the kernel", is_required=is_required)
    if len(made) > EXTENSION_OBJECT_BYTES_MAX:
        reason = f"its code has {len(made)} bytes; in the kernel {EXTENSION_OBJECT_BYTES_MAX} are possible"
        return KernelCode(reason=reason, is_required=is_required)
    return KernelCode(made, identity, is_required=is_required)


def _float_line(program: Program) -> int:
    """Where an extension has its first float."""
    if F64 in program.extension.parameters.values():
        return head(program.extension.function).lineno
    return min(
        (node.lineno for function in program.functions for node, kind in function.types.items() if kind == F64), default=0
    )

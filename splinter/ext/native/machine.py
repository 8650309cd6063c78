"""LLVM itself: textual module in, position-independent machine code out.

The passes are chosen by hand. LLVM's ready-made -O1 to -O3 contain passes built on scalar evolution, whose time is
exponential in the number of loops that feed one another: 30 small loops took 97 s. A tenant must not be able to do that, and
nothing here needs them; the same holds for loop strength reduction in the code generator. NewGVN is left out because
LLVM 22's runs into an assertion on some valid programs, which ends the process; the emitter does not compute the same value
twice in a block anyway.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from splinter.ext.native import elf, routines
from splinter.ext.native.elf import Linked
from splinter.ext.native.llvm_text import LlvmModule
from splinter.extras import with_advice

try:
    import llvmlite.binding as llvm
except ModuleNotFoundError as error:
    raise with_advice(error) from None

_lock = threading.Lock()  # each target machine is one for all threads


@functools.cache
def _target(is_quick: bool = False) -> Any:
    """The target machine and its pass builder; made once, because that takes longer than a compilation."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if not is_quick:
        llvm.set_option("splinter", "-disable-lsr")
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=0 if is_quick else 2,
        reloc="pic",
        codemodel="small",
        jit=False,
    )
    return machine, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))


def _passes() -> Any:
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_dead_store_elimination_pass()
    passes.add_simplify_cfg_pass()
    return passes


def _object_file(module_text: str, is_quick: bool) -> bytes:
    with _lock:
        machine, builder = _target(is_quick)
        module = llvm.parse_assembly(module_text, llvm.create_context())  # the global one would keep every constant
        module.verify()
        if not is_quick:
            _passes().run(module, builder)
        object_file: bytes = machine.emit_object(module)
        return object_file


@functools.cache
def _routine(name: str) -> bytes:
    return elf.link(_object_file(routines.MODULES[name], is_quick=False), [name]).code


def compile_routines() -> None:
    """Compile all of them, so that no extension has to wait for it."""
    for name in routines.MODULES:
        _routine(name)


def machine_code(module: LlvmModule, is_quick: bool = False) -> Linked:
    """Verify and compile a module; raises :class:`ObjectError` or ``RuntimeError`` (LLVM's verifier).

    ``is_quick``: in a fraction of the time, without passes and with LLVM's fast instruction selection.
    """
    called = {name: _routine(name) for name in module.routines}
    return elf.link(_object_file(module.text, is_quick), module.entries, called)

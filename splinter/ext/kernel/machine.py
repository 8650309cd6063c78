"""LLVM for the kernel's tier: a textual module in, an ELF file of BPF out, to be linked with ``bpf/extension.c``.

LLVM *ends the process* on what BPF cannot do, a product of 128 bits for one. So this runs in the compiler's child only, and
:mod:`splinter.ext.kernel.fit` lets nothing of that kind through.
"""

from __future__ import annotations

import functools
from typing import Any

from splinter.extras import with_advice

try:
    import llvmlite.binding as llvm
except ModuleNotFoundError as error:
    raise with_advice(error) from None

_TARGET = "bpfel"
_CPU = "v4"  # signed division; Linux 6.6, and may_goto needs 6.9
_FEATURES = "+allows-misaligned-mem-access"  # else a load of 8 bytes becomes eight of one


@functools.cache
def _target() -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(_TARGET).create_target_machine(cpu=_CPU, features=_FEATURES, opt=2)
    # Making it has changed, for all targets, from how many cases on a switch becomes a table.
    llvm.set_option("splinter", "-min-jump-table-entries=4")
    return machine, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))


def object_file(module_text: str) -> bytes:
    """Verify and compile a module; raises ``RuntimeError`` (LLVM's verifier)."""
    machine, builder = _target()
    module = llvm.parse_assembly(module_text, llvm.create_context())
    module.triple = _TARGET
    module.data_layout = str(machine.target_data)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_dead_store_elimination_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    compiled: bytes = machine.emit_object(module)
    return compiled

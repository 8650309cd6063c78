"""The verifier of intermediate code: what stands between every mistake before it and the memory of other tenants.

It knows nothing of the language, of the checker or of the lowering: it takes the code of one function as it is, on its last way
to a back end, and proves that running it does no harm. What it cannot prove it refuses. What it takes for granted, and why
that is enough, stands in ``docs/explanation/security.md``.

Of every way through the function it shows that

* operands have the right kinds (``shapes``), and a register is read where it was assigned and not lost at a yield (``flow``);
* every access lies inside of something that is the task's, every call is of a known helper with bytes that are the task's,
  no division, shift or conversion is undefined, and a result is one (``memory``, by the rules of ``proofs``);
* every circle spends from the budget, and so does work in a straight line (``flow``).
"""

from __future__ import annotations

from splinter.ext.abi import ResultKind
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Placement
from splinter.ext.middle.verifier.flow import Flow
from splinter.ext.middle.verifier.layout import Layout
from splinter.ext.middle.verifier.memory import Memory
from splinter.ext.middle.verifier.report import UnprovenError, refuse

__all__ = ["UnprovenError", "verify"]


def verify(function: ir.Function, placement: Placement, result: ResultKind) -> None:
    """Prove that a function does no harm, with its registers where ``placement`` says. Raises :class:`UnprovenError`."""
    layout = Layout(function)
    if layout.fault:
        refuse(layout.fault)
    flow = Flow(function, placement, layout)
    flow.prove_places()
    flow.prove_assigned()
    Memory(flow, layout, result).prove()
    flow.prove_work()

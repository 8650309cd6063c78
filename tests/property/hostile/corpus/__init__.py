"""Programs that try to escape, hang, exhaust or confuse, each with what must come of it.

A case is hostile in itself: it must stay refused, or end as written here, however the language grows.
"""

from __future__ import annotations

from tests.property.hostile.corpus import arithmetic, buffers, calls, escape, iteration, memory, names, sources, syntax, tasks
from tests.property.hostile.corpus.case import Case, Failure, Refusal, Result

CASES: list[Case] = [
    *escape.CASES, *names.CASES, *syntax.CASES, *sources.CASES, *memory.CASES, *buffers.CASES,
    *arithmetic.CASES, *tasks.CASES, *iteration.CASES, *calls.CASES,
]  # fmt: skip

__all__ = ["CASES", "Case", "Failure", "Refusal", "Result"]

"""Runs many random programs: ``scripts/fuzz --programs N``.

Each program is compiled thoroughly and quickly, with the inserted yields or without them. Each of these runs twice, with two
patterns in all memory that it must not depend on. Results, errors, lines, logs and stored objects must be those of the CPython
back end. Programs are made in batches: one LLVM module for each form of a batch, and a process for each batch, so that one
that crashes is told by its number. With ``--proofs`` programs are only proven to do no harm, since the verifier has to prove
whatever the checker accepts: that takes a fifth of the time.
"""

from __future__ import annotations

import argparse
import collections
import gc
import itertools
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from splinter.errors import CompileError
from splinter.ext.front.checked import Program
from splinter.ext.middle.verifier import verify
from splinter.ext.python.instrument import python_function
from tests.property.fuzz.programs import FUEL, I64_MAX, Case, make_case
from tests.property.hostile.in_child import in_child
from tests.support.forms import FORMS, Form, Prepared, accepted, make, placed

BATCH = 100  # programs of one LLVM module
BATCH_SECONDS_MAX = 600  # that takes longer only on a machine that stands still
OBJECTS = {(1, (1).to_bytes(8, "little")): b"of one", (1, (2).to_bytes(8, "little")): bytes(range(24)), (1, b"a"): b""}
# What the generator's own constants may lead to; every other refusal is a failure.
REFUSALS = frozenset({"constant", "mixed-signs", "table", "too-large", "key", "call"})
LARGEST = str(I64_MAX)[:-1]  # of a number that is one step from being u64: a constant that is computed from it may be
REPORT_SECONDS = 10.0


class Failure(Exception):
    """A program that is not the same everywhere."""


def forms_of(seed: int, batch: int, only_proofs: bool = False) -> list[Form]:
    """Both forms of code, each with or without the inserted yields; mostly with them, as on a server. None to prove only."""
    if only_proofs:
        return []
    choice = random.Random(f"{seed}/{batch}/forms")
    return [FORMS[is_quick + (0 if choice.random() < 0.7 else 2)] for is_quick in (0, 1)]


def try_case(case: Case, forms: Sequence[Form]) -> str:
    """Compile and run one program by itself; the rule that it is refused by, if it is."""
    try:
        program = accepted(case.source)
        if not forms:
            _prove(program)
            return ""
        made = [one for (one,) in make([program], forms)]
    except CompileError as error:
        return _refusal(error, case.source)
    Prepared(case.source, program, python_function(program, "<source>", 0), made).agree(
        *case.arguments, objects=OBJECTS, budget=case.budget
    )
    return ""


def _prove(program: Program) -> None:
    for form in placed(program):
        verify(*form)


def _refusal(error: CompileError, source: str) -> str:
    rules = {finding.rule for finding in error.diagnostics}  # type: ignore[attr-defined]
    if not rules - {"type" if LARGEST in source else ""} <= REFUSALS:
        raise Failure(f"refused: {error}")
    return min(rules)


def run_batch(seed: int, batch: int, count: int, note: Any, forms: Sequence[Form]) -> collections.Counter[str]:
    """Run the programs of a batch, or prove them; of how many that was done (under ``""``), and how many each rule refused."""
    gc.disable()
    refused: collections.Counter[str] = collections.Counter()
    cases, programs = [], []
    for number in range(batch * BATCH, batch * BATCH + count):
        note(number)
        case = make_case(seed, number)
        try:
            program = accepted(case.source)
        except CompileError as error:
            refused[_refusal(error, case.source)] += 1
            continue
        if not forms:
            _prove(program)
            refused[""] += 1
            continue
        programs.append(program)
        cases.append((number, case))
    note(f"compiling batch {batch}")
    by_form = make(programs, forms)
    for place, ((number, case), program) in enumerate(zip(cases, programs, strict=True)):
        note(number)
        made = [of_form[place] for of_form in by_form]
        prepared = Prepared(case.source, program, python_function(program, "<source>", 0), made)
        prepared.agree(*case.arguments, objects=OBJECTS, budget=case.budget)
        refused[""] += 1
    return refused


def _worker(jobs: Any, results: Any, seed: int, only_proofs: bool) -> None:
    """Run batches, each in a child: all that the compiler and LLVM keep goes with it, and a crash is told."""
    for batch, count in iter(jobs.get, None):
        forms = forms_of(seed, batch, only_proofs)
        try:
            counts = in_child(lambda note, b=batch, c=count, f=forms: run_batch(seed, b, c, note, f), BATCH_SECONDS_MAX)
            results.put((batch, counts, ""))
        except AssertionError as failure:
            results.put((batch, collections.Counter(), str(failure)))


def one_by_one(seed: int, batch: int, count: int, forms: Sequence[Form]) -> tuple[int, str]:
    """The first program of a batch that fails by itself, and how; -1 when none does."""
    for number in range(batch * BATCH, batch * BATCH + count):
        failure = _failure(make_case(seed, number), forms)
        if failure:
            return number, failure
    return -1, ""


def _failure(case: Case, forms: Sequence[Form]) -> str:
    try:
        in_child(lambda note: try_case(case, forms))
    except AssertionError as failure:
        return str(failure)
    return ""


def shrunk(case: Case, forms: Sequence[Form]) -> Case:
    """The program with as few lines as still fail, in the same kind of way."""
    kind = _failure(case, forms)[:20]
    lines = case.source.split("\n")
    size = len(lines) // 2
    while size:
        for start in range(0, len(lines), size):
            fewer = lines[:start] + lines[start + size :]
            smaller = Case("\n".join(fewer), case.arguments, case.budget)
            if _failure(smaller, forms)[:20] == kind and "Failure: refused" not in _failure(smaller, forms):
                lines = fewer
                break
        else:
            size //= 2
    return Case("\n".join(lines), case.arguments, case.budget)


def report_failure(seed: int, number: int, failure: str, forms: Sequence[Form]) -> None:
    smaller = shrunk(make_case(seed, number), forms)
    print(f"{failure}\n\nprogram {number} of seed {seed}, with as few lines as fail:\n\n{smaller.source}")
    print(f"arguments {smaller.arguments}, budget {smaller.budget}, forms {list(forms)}")
    print(f"again: scripts/fuzz --programs 1 --seed {seed} --first {number}{'' if forms else ' --proofs'}")


def campaign(programs: int, seed: int, first: int, processes: int, seconds: float, only_proofs: bool) -> int:
    """Run programs ``first`` and following, or only prove them; the exit status."""
    context = multiprocessing.get_context("fork")
    jobs, results = context.Queue(2 * processes), context.Queue()
    workers = [context.Process(target=_worker, args=(jobs, results, seed, only_proofs), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    first_batch = first // BATCH
    batches = ((batch, min(BATCH, first + programs - batch * BATCH)) for batch in itertools.count(first_batch))
    counts: collections.Counter[str] = collections.Counter()
    failures: list[tuple[int, int, str]] = []
    sizes: dict[int, int] = {}
    begun = shown = time.monotonic()
    open_jobs, is_more = 0, True
    while open_jobs or is_more:
        while is_more and open_jobs < 2 * processes:
            batch, count = next(batches)
            is_more = count > 0 and not failures and time.monotonic() - begun < seconds
            if is_more:
                sizes[batch] = count
                jobs.put((batch, count))
                open_jobs += 1
        if not open_jobs:
            break
        batch, found, failure = results.get()
        open_jobs -= 1
        counts += found
        if failure:
            failures.append((batch, sizes[batch], failure))
            is_more = False
        if time.monotonic() - shown > REPORT_SECONDS:
            shown = time.monotonic()
            print(_summary(counts, shown - begun, processes, seed, only_proofs), flush=True)
    for _ in workers:
        jobs.put(None)
    print(_summary(counts, time.monotonic() - begun, processes, seed, only_proofs))
    for batch, count, failure in failures:
        forms = forms_of(seed, batch, only_proofs)
        number, alone = one_by_one(seed, batch, count, forms)
        if number < 0:
            print(f"batch {batch} of seed {seed} failed, and no program of it alone:\n{failure}")
        else:
            report_failure(seed, number, alone, forms)
    return 1 if failures else 0


def _summary(counts: collections.Counter[str], seconds: float, processes: int, seed: int, only_proofs: bool) -> str:
    what = "were proven in 2 forms" if only_proofs else "ran, in 2 forms with 2 patterns each"
    ran = counts[""]
    refused = ", ".join(f"{count} {rule}" for rule, count in sorted(counts.items()) if rule)
    return (f"{ran} programs {what}; refused for their constants: {refused or 'none'}; "
            f"{ran / max(seconds, 1e-9):.1f} programs/s on {processes} of {os.cpu_count()} CPUs; seed {seed}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--programs", type=int, required=True, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="of all of them (default: a new one)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after this time")
    parser.add_argument("--proofs", action="store_true", help="only prove them")
    parser.add_argument("--kernel", action="store_true", help="programs that only read, in the kernel as well; needs root")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 31)
    if given.kernel:
        from tests.property.fuzz import kernel_campaign  # which needs what the others do not

        return kernel_campaign.campaign(given.programs, seed, given.first, given.seconds)
    if given.programs == 1:
        forms = forms_of(seed, given.first // BATCH, given.proofs)
        failure = _failure(make_case(seed, given.first, FUEL), forms)
        if failure:
            report_failure(seed, given.first, failure, forms)
        print(
            "the program failed"
            if failure
            else "the program is proven"
            if given.proofs
            else "the program is the same everywhere"
        )
        return 1 if failure else 0
    first = given.first - given.first % BATCH
    return campaign(given.programs, seed, first, given.processes, given.seconds, given.proofs)


if __name__ == "__main__":
    sys.exit(main())

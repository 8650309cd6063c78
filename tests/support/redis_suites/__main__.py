"""``scripts/redis-suites``: the arguments, and what is told at the end."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from splinter.interrupts import interruptible
from tests.support.redis_suites import compatibility_suite, python_suite, targets, tcl_suite, verdicts
from tests.support.redis_suites.gate import Gate
from tests.support.redis_suites.sources import SourceError
from tests.support.redis_suites.targets import Target
from tests.support.redis_suites.verdicts import CLAIMED, Outcome

INTERRUPTED = 130  # status


def _run_python(target: Target, options: argparse.Namespace) -> bool:
    found = verdicts.load(python_suite.SUITE)
    claimed = [test for tests in found.values() for test, verdict in tests.items() if verdict == CLAIMED]
    if options.test:
        claimed = [test for test in claimed if any(part in test for part in options.test)]
        found = {group: {test: CLAIMED for test in tests if test in claimed} for group, tests in found.items()}
    outcomes = python_suite.run(target, only=None if options.all else claimed)
    return verdicts.tell_run(found, outcomes)


def _record_python(target: Target) -> None:
    plain = python_suite.run(target)
    with Gate(target.host, target.port, refuse=True) as gate:
        refusing = python_suite.run(target, gate=gate)
    _record(python_suite.SUITE, plain, refusing)


def _run_tcl(target: Target, options: argparse.Namespace) -> bool:
    with Gate(target.host, target.port, target.login, replace=True) as gate:
        found = verdicts.load(tcl_suite.SUITE)
        outcomes = tcl_suite.run(gate, None if options.all else verdicts.left_out(found))
    fine = verdicts.tell_run(found, outcomes)
    for outcome in outcomes:
        if outcome.test.startswith(tcl_suite.STOPPED):
            print(f"{outcome.group}: what follows of a block did not run: {' '.join(outcome.reason.split())[:300]}")
    told = ", ".join(f"{name} {count} times" for name, count in sorted(gate.replaced.items()))
    print(f"the gate logged in, took DEBUG LOG at each test's start, and had other commands done for {told}")
    return fine


def _record_tcl(target: Target) -> None:
    with Gate(target.host, target.port, target.login) as gate:
        plain = tcl_suite.run(gate)
    refusing: list[Outcome] = []
    skip: dict[str, set[str]] = {unit: set() for unit in tcl_suite.UNITS}
    units = set(tcl_suite.UNITS)
    while units:  # a test that was left in a MULTI by one before it may itself need what is refused
        with Gate(target.host, target.port, target.login, refuse=True, replace=True) as gate:
            outcomes = tcl_suite.run(gate, skip, units)
        stopped = [outcome for outcome in outcomes if outcome.result == "failed" and outcome.refused]
        refusing += stopped
        units_left = {outcome.group for outcome in stopped}
        refusing += [outcome for outcome in outcomes if outcome.group not in units_left]
        for outcome in stopped:
            skip[outcome.group].add(outcome.test)
        units = units_left
    _record(tcl_suite.SUITE, plain, refusing)


def _record(suite: str, plain: Sequence[Outcome], refusing: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in plain if outcome.result == "failed"]
    for outcome in failed:
        print(f"fails on Redis: {outcome.test}: {' '.join(outcome.reason.split())[:200]}")
    judged = verdicts.judged(plain, refusing)
    verdicts.save(suite, judged)
    verdicts.tell_verdicts(judged)


def _run_compatibility(target: Target, options: argparse.Namespace) -> bool:
    cases = compatibility_suite.cases(options.clone)
    found = compatibility_suite.verdicts(cases)
    outcomes = compatibility_suite.run(target, cases)
    fine = verdicts.tell_run(found, outcomes)
    passed = sum(outcome.result == "passed" for outcome in outcomes)
    print(f"all cases: {passed} of {len(outcomes)} pass ({passed / len(outcomes):.2%})")
    return fine


RUNS = {"redis-py": _run_python, "tcl": _run_tcl, "compat": _run_compatibility}
RECORDS = {"redis-py": _record_python, "tcl": _record_tcl}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/redis-suites", description=__doc__)
    parser.add_argument("suite", choices=sorted(RUNS))
    parser.add_argument("--url", help="a server that is there")
    parser.add_argument("--redis", action="store_true", help="a Redis of our own")
    parser.add_argument("--record", action="store_true", help="find anew which tests need claimed commands only")
    parser.add_argument("--all", action="store_true", help="run the tests that are not claimed too")
    parser.add_argument("--test", metavar="PART", action="append", help="redis-py: only those with this in their name")
    parser.add_argument("--from", metavar="CLONE", dest="clone", type=Path, help="compat: a clone of its repository")
    options = parser.parse_args(arguments)
    with interruptible(), contextlib.ExitStack() as stack:
        try:
            if options.record:
                if options.suite not in RECORDS:
                    parser.error("the cases of compat say themselves which commands they need")
                RECORDS[options.suite](stack.enter_context(targets.redis()))
                return 0
            if options.url:
                target = targets.of_url(options.url)
            else:
                target = stack.enter_context(targets.redis() if options.redis else targets.splinter())
            return 0 if RUNS[options.suite](target, options) else 1
        except SourceError as error:
            print(f"redis-suites: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

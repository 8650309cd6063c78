"""Kill a writer at every kill point that the scenario passes through; check what it leaves behind. Prints a JSON report.

A program of its own, because kill points are compiled in only where SPLINTER_KILL_POINTS=1 was set from the start. Of
the points that are passed most often only some passes are tried, unless the first argument is ``every``.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys

import store_scenario as scenario

from splinter.store import kill_points
from splinter.store.commit_layout import COMMIT_NONE
from splinter.store.journal import JOURNAL_CLEAR
from splinter.store.kill_points import KillPoint
from splinter.store.log import LogRings
from splinter.store.recovery import recover
from splinter.store.store import Store
from tests.support.logs import groups, logged, restored, state_of

STRIDES = {  # of the points that are passed most often
    KillPoint.WORD_NOTED: 11,
    KillPoint.WORD_APPLIED: 5,
    KillPoint.LOCK_ANNOUNCED: 5,
    KillPoint.LOCK_TAKEN: 2,
    KillPoint.LOCK_RELEASED: 5,
    KillPoint.APPLIED: 2,
    KillPoint.CLEARED: 3,
}
RECOVERER_POINTS = (KillPoint.WORD_APPLIED, KillPoint.APPLIED, KillPoint.CLEARED)


def run_steps(store: Store, steps: list[scenario.Step], acknowledged: mmap.mmap) -> None:
    """The victim: after each step, say that it is done."""
    for number, step in enumerate(steps):
        step.run(store)
        acknowledged[0] = number + 1


def check_log(store: Store, rings: LogRings, where: str) -> None:
    """What the log says makes the same store, to the last version, result and number."""
    again = restored([groups(rings, rings.heads())], store)
    expected, found = state_of(store, scenario.TENANT), state_of(again, scenario.TENANT)
    if found != expected or again.problems():
        differing = [name for name in expected | found if expected.get(name) != found.get(name)]
        raise SystemExit(f"{where}: the log makes another store, by {differing}; {again.problems()}")


def die(store: Store, point: int, skip: int, victim) -> bool:
    """Run ``victim`` in a process that kills itself at the given pass through the point; false when it got to the end."""
    store.descriptor["kill_at"], store.descriptor["kill_skip"] = point, skip
    pid = os.fork()
    if pid == 0:
        try:
            victim()
        except BaseException as error:
            print(f"{KillPoint(point).name} {skip}: {error!r}", file=sys.stderr)
            os._exit(2)
        os._exit(0)
    result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    store.descriptor["kill_at"] = 0
    if result not in (0, -signal.SIGKILL):
        raise SystemExit(f"the victim of {KillPoint(point).name} {skip} ended with {result}")
    return result != 0


def attached(store: Store, rings: LogRings) -> Store:
    """What the next server on the same memory makes of it."""
    return Store.attach(
        index=store.index_region, slabs=store.slabs_region, tenants=store.tenants_region, accounts=store.accounts_region,
        state=store.state_region, log=rings.region,
    )  # fmt: skip


def check(store: Store, steps: list[scenario.Step], done: int, where: str) -> int:
    """The store is sound and holds what ``done`` steps make, or one more; returns which."""
    problems = store.problems()
    if problems:
        raise SystemExit(f"{where}, after {done} steps: {problems}")
    actual = scenario.contents_of(store)
    for reached in (done + 1, done):
        if actual == scenario.contents_after(steps[:reached]):
            return reached
    raise SystemExit(f"{where}: an acknowledged write is missing or torn after {done} steps")


def check_readers(store: Store, steps: list[scenario.Step], done: int, where: str) -> None:
    """Before anybody recovers, a reader finds what ``done`` steps make, or one more: no step is seen half done."""
    before, after = scenario.contents_after(steps[:done]), scenario.contents_after(steps[: done + 1])
    found = scenario.looked_up(store, before.keys() | after.keys())
    snapshot = scenario.in_snapshot(store, before.keys() | after.keys())
    if found not in (before, after) or snapshot != found:
        raise SystemExit(f"{where}: a reader sees a step half done after {done} steps")


def main() -> None:
    """Go through all points."""
    assert kill_points.ENABLED
    steps = scenario.steps()
    acknowledged = mmap.mmap(-1, mmap.PAGESIZE)
    store = scenario.new_store()
    rings = logged(store, scenario.TENANT)
    run_steps(store, steps, acknowledged)  # compiles everything
    check_log(store, rings, "nobody died")
    report = {"passes": {}, "recoverers_killed": 0, "retries": 0, "attached": 0}
    for point in KillPoint:
        report["passes"][point.name] = skip = 0
        stride = 1 if "every" in sys.argv else STRIDES.get(point, 1)
        while True:
            store = scenario.new_store()
            rings = logged(store, scenario.TENANT)
            acknowledged[0] = 0
            if not die(store, point, skip, lambda store=store: run_steps(store, steps, acknowledged)):
                break
            where = f"{point.name} {skip}"
            check_readers(store, steps, acknowledged[0], where)
            victim = store.participants[scenario.VICTIM]
            if victim["intent"]["state"] != JOURNAL_CLEAR or victim["commit"]["state"] != COMMIT_NONE:
                # The recoverer may die as well; its own recoverer begins anew.
                again = RECOVERER_POINTS[skip % len(RECOVERER_POINTS)]
                report["recoverers_killed"] += die(store, again, 0, lambda store=store: recover(store.address, 0))
            if (skip // stride + point) % 2:
                recover(store.address, scenario.VICTIM)
            else:  # nobody was left to do it: the next server does
                store = attached(store, rings)
                report["attached"] += 1
            store.open_tenant(scenario.TENANT)  # a step lowers the quota for a while, and one evicts
            store.accounts["eviction"][scenario.TENANT] = 0
            reached = check(store, steps, acknowledged[0], where)
            check_log(store, rings, where)
            if reached > acknowledged[0] and steps[acknowledged[0]].is_request:  # whose client was not answered: it asks again
                versions = scenario.versions_of(store)
                steps[acknowledged[0]].run(store)
                if scenario.versions_of(store) != versions:
                    raise SystemExit(f"{where}: {steps[acknowledged[0]].name} was executed twice")
                report["retries"] += 1
            for step in steps[reached:]:  # the successor goes on
                step.run(store)
            check(store, steps, len(steps), f"{where}, then all other steps")
            check_log(store, rings, f"{where}, then all other steps")
            report["passes"][point.name] += 1
            skip += stride
    print(json.dumps(report))


if __name__ == "__main__":
    main()

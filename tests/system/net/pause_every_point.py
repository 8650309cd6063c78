"""A get in the XDP program waits at each of its pauses while a writer dies at each of its kill points. Prints a JSON report.

A program of its own, because kill points are compiled in only where SPLINTER_KILL_POINTS=1 was set from the start. It is run
in the network namespace of a lab's server. Of all pairs of a pause and a passed kill point one in so many is tried as the
argument says.

Each pair is tried in four ways. The get begins before the writer does, or when the writer is dead. It goes on when the writer
is dead, before anybody recovers; or much later, when the writer's successor has done the step, and others that use again what
became free. It must find what the key had at some moment between its begin and its end, or leave the request to a worker.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/unit/store")]

import kill_every_point  # noqa: E402
import store_scenario as scenario  # noqa: E402

from splinter.store import kill_points  # noqa: E402
from splinter.store.epochs import EPOCH_OFFLINE  # noqa: E402
from splinter.store.kill_points import KillPoint  # noqa: E402
from splinter.store.recovery import recover  # noqa: E402
from splinter.store.store import Store  # noqa: E402
from tests.support.held_cpu import beside_the_held  # noqa: E402
from tests.support.kernel_reader import Answer, HandedOver, KernelReader, Memory, PausedGet, difference  # noqa: E402

_MANY = 1 << 30
_FILLERS = 12
_SWITCH_SECONDS = 1e-4  # after which the thread that asks gets its turn beside the one that waits for it to ask
_PAUSES = re.findall(r"^    (PAUSE_\w+),", (ROOT / "bpf/pause.h").read_text(), re.MULTILINE)
PLACES = {name: number for number, name in enumerate(_PAUSES) if number}

Pass = tuple[int, int, int]  # step, point, passes of it in the step before


def passes(reader: KernelReader, steps: list[scenario.Step]) -> list[Pass]:
    """Every pass through a kill point that the scenario makes."""
    found = []
    for point in KillPoint:
        store, before = new_store(reader), 0
        store.descriptor["kill_at"], store.descriptor["kill_skip"] = point, _MANY
        for number, step in enumerate(steps):
            step.run(store)
            after = _MANY - int(store.descriptor["kill_skip"])
            found += [(number, point, passed) for passed in range(after - before)]
            before = after
    return found


def new_store(reader: KernelReader) -> Store:
    """As the scenario's own."""
    store = reader.new_store(scenario.TENANT)
    scenario.set_hash(store)
    return store


def keys_of(steps: list[scenario.Step], number: int) -> list[bytes]:
    """The keys that a step changes; if it changes none, two that are there, and one that is not."""
    before, after = scenario.contents_after(steps[:number]), scenario.contents_after(steps[: number + 1])
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return changed or [b"small", *sorted(before)[:1], b"never"]


def use_again(store: Store, like: bytes) -> None:
    """Take up what has become free, as objects of this size of other keys."""
    for number in range(_FILLERS):
        scenario.put(b"filler %d" % (number % 3), bytes([255 - number]) * max(len(like), 1)).run(store)
        scenario.turn().run(store)


class Tries:
    """All that is tried, and what came of it."""

    def __init__(self, reader: KernelReader, steps: list[scenario.Step]) -> None:
        self.reader, self.steps = reader, steps
        self.counts: Counter[str] = Counter()
        self._step = -1  # that the next two are of: a store before it, and its memory
        self._store, self._before = new_store(reader), reader.memory()

    def try_pass(self, one: Pass, gets: list[tuple[str, bytes]]) -> None:
        """A pass through a kill point, with gets of keys that wait at places, in all four ways.

        The writer dies once for all gets that begin later, and once for all that began before. What it leaves depends on these
        by their epoch only, which a CPU is held in meanwhile. That memory is put in place while each of them waits.
        """
        self._come_before(one[0])
        for is_first in (False, True):
            dead = self._die(one, is_first)
            there, back = difference(self._before, dead), difference(dead, self._before)
            self.reader.restore(dead)
            is_dead = True  # whether the memory is as the writer left it
            for (place, key), is_late in itertools.product(gets, (False, True)):
                if not is_dead:
                    self.reader.restore(dead)
                if is_first:
                    self.reader.write(back)
                paused = self.reader.begin(scenario.TENANT, key, PLACES[place])
                if is_first:
                    self.reader.write(there)
                if is_late:
                    self._go_on(one[0], key)
                is_dead = not is_late
                self._count(paused, place)
                where = (
                    f"{place}, {KillPoint(one[1]).name} {one[2]} in {self.steps[one[0]].name}, {key!r}, {is_first=}, {is_late=}"
                )
                self._judge(paused, list(self._values(one[0], key)), where)

    def _come_before(self, number: int) -> None:
        if self._step == number:
            return
        self._step, self._store = number, new_store(self.reader)
        for step in self.steps[:number]:
            step.run(self._store)
        self._before = self.reader.memory()

    def _values(self, number: int, key: bytes) -> tuple[Answer, Answer]:
        """Of a key, before a step and after it."""
        before, after = (scenario.contents_after(self.steps[:end]).get(key) for end in (number, number + 1))
        return before, after

    def _die(self, one: Pass, is_first: bool) -> Memory:
        """What a writer leaves that dies there; ``is_first``: while a get waits that keeps memory from being free."""
        number, point, passed = one
        self.reader.restore(self._before)
        self.reader.hold_epoch(int(self._store.descriptor["epoch"]) if is_first else EPOCH_OFFLINE)
        # With memory that does not become free the step may go another way, and not come there.
        if not kill_every_point.die(self._store, point, passed, lambda: self.steps[number].run(self._store)):
            self.counts["lived"] += 1
        self.reader.hold_epoch(EPOCH_OFFLINE)
        self.counts["deaths"] += 1
        return self.reader.memory()

    def _go_on(self, number: int, key: bytes) -> None:
        """Recover, do the step again, and use again what has become free."""
        before, after = self._values(number, key)
        recover(self._store.address, scenario.VICTIM)
        self._store.open_tenant(scenario.TENANT)
        self.steps[number].run(self._store)
        use_again(self._store, before or after or b"")

    def _count(self, paused: PausedGet, place: str) -> None:
        if not paused.came_there:
            self.counts["not on the way"] += 1
        else:
            self.counts["released" if paused.is_alive() else "too late"] += 1
            self.counts[place] += 1

    def _judge(self, paused: PausedGet, allowed: tuple[Answer, Answer], where: str) -> None:
        try:
            answer = paused.end()
        except HandedOver:
            self.counts["handed over"] += 1
        else:
            self.counts["found" if answer is not None else "missing"] += 1
            if answer not in allowed:
                raise SystemExit(f"{where}: {answer!r} in place of {allowed}")
        if not self.reader.is_offline():
            raise SystemExit(f"{where}: a CPU stays in its epoch")


def main() -> None:
    """Go through all pairs."""
    assert kill_points.ENABLED
    sys.setswitchinterval(_SWITCH_SECONDS)
    steps = scenario.steps()
    reader = KernelReader()
    tries = Tries(reader, steps)
    pairs = [(one, place, key) for one in passes(reader, steps) for key in keys_of(steps, one[0]) for place in PLACES]
    tried = sorted(pairs[:: int(sys.argv[1])])
    done = 0
    for one, group in itertools.groupby(tried, lambda pair: pair[0]):
        gets = [(place, key) for _, place, key in group]
        with beside_the_held():
            tries.try_pass(one, gets)
        done += len(gets)
        if sys.stderr.isatty():
            print(f"\r{done} of {len(tried)} ", end="", file=sys.stderr, flush=True)
    reader.close()
    print(json.dumps({"pairs": len(pairs), "tried": len(tried), **tries.counts}))


if __name__ == "__main__":
    main()

"""A get in the XDP program waits at each of its pauses while a writer dies at each of its kill points. Prints a JSON report.

A program of its own, because kill points are compiled in only where SPLINTER_KILL_POINTS=1 was set from the start. It is run
in the network namespace of a lab's server. Of all pairs of a pause and a passed kill point one in STRIDE is tried, unless the
first argument is ``every``.

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
from splinter.store.kill_points import KillPoint  # noqa: E402
from splinter.store.recovery import recover  # noqa: E402
from splinter.store.store import Store  # noqa: E402
from tests.support.kernel_reader import Answer, HandedOver, KernelReader, PausedGet  # noqa: E402

STRIDE = 509
_MANY = 1 << 30
_FILLERS = 12
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
        self._before: tuple[int, Store] = (-1, new_store(reader))  # the step that the reader's memory was saved before

    def try_pair(self, one: Pass, place: str, key: bytes) -> None:
        """A pass through a kill point and a pause, in all three ways."""
        number = one[0]
        before, after = (scenario.contents_after(self.steps[:end]).get(key) for end in (number, number + 1))
        where = f"{place}, {KillPoint(one[1]).name} {one[2]} in {self.steps[number].name}, {key!r}"
        for is_first, is_late in itertools.product((False, True), repeat=2):
            store = self._store_before(number)
            if is_first:
                paused = self.reader.begin(scenario.TENANT, key, PLACES[place])
            self._die(store, one)
            if not is_first:
                paused = self.reader.begin(scenario.TENANT, key, PLACES[place])
            if is_late:
                recover(store.address, scenario.VICTIM)
                store.open_tenant(scenario.TENANT)
                self.steps[number].run(store)
                use_again(store, before or after or b"")
            if not paused.came_there:
                self.counts["not on the way"] += 1
            else:
                self.counts["released" if paused.is_alive() else "too late"] += 1
                self.counts[place] += 1
            self._judge(paused, [before, after], f"{where}, {is_first=}, {is_late=}")

    def _store_before(self, number: int) -> Store:
        if self._before[0] == number:
            self.reader.restore()
            return self._before[1]
        store = new_store(self.reader)
        for step in self.steps[:number]:
            step.run(store)
        self.reader.save()
        self._before = number, store
        return store

    def _die(self, store: Store, one: Pass) -> None:
        number, point, passed = one
        # A reader that waits keeps memory from being free: the step may go another way, and not come there.
        if not kill_every_point.die(store, point, passed, lambda: self.steps[number].run(store)):
            self.counts["lived"] += 1

    def _judge(self, paused: PausedGet, allowed: list[Answer], where: str) -> None:
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
    steps = scenario.steps()
    reader = KernelReader()
    tries = Tries(reader, steps)
    pairs = [(one, place, key) for one in passes(reader, steps) for key in keys_of(steps, one[0]) for place in PLACES]
    stride = 1 if "every" in sys.argv else STRIDE
    for number, pair in enumerate(sorted(pairs[::stride])):
        tries.try_pair(*pair)
        if "every" in sys.argv and number % 1000 == 0:
            print(f"{number} of {len(pairs)}", file=sys.stderr, flush=True)
    reader.close()
    print(json.dumps({"pairs": len(pairs), "tried": len(pairs[::stride]), **tries.counts}))


if __name__ == "__main__":
    main()

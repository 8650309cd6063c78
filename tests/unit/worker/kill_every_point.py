"""Kill a worker at every kill point of its loop and of the store; check what it and its successors leave. Prints a JSON report.

A program of its own, because kill points are compiled in only where SPLINTER_KILL_POINTS=1 was set from the start. Workers
are forked processes that run the production loop; this process is the client, the kernel below their rings (with ``udp`` as
argument: sockets on loopback), and the supervisor, which recovers by its own code. Requests come to the worker's own ring
and to that of a sibling which never runs, so that it steals.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

from memory_device import MemoryDevice
from numba import types
from socket_device import SocketDevice
from splinter_bench.process import die_with_parent
from transport_points import STORE_POINTS, UDP_ONLY, XDP_ONLY

from splinter import limits
from splinter.errors import Status
from splinter.ext import record
from splinter.ext.compile import compile_source
from splinter.ext.native.code import CodeRegion
from splinter.native.clock import cycles_per_millisecond
from splinter.net.tenants import TENANT, TENANT_ACTIVE, tenants_bytes
from splinter.server.supervisor.recovery import recover
from splinter.store import kill_points
from splinter.store.epochs import EPOCH_OFFLINE, OLDEST_NONE
from splinter.store.kill_points import KillPoint
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.wire import Header, Opcode
from splinter.worker.kill_points import WorkerPoint
from splinter.worker.layout import STATE_SLEEPING, STATE_STARTING
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.tasks.layout import TASK_FREE
from splinter.worker.texts import build_texts
from tests.support import entries
from tests.support.batches import Answer, One, answers

Identity = tuple[int, int]  # of a request: sequence number, fragment
Deaths = list[tuple[int, int]]  # points, each with the passes to survive: of the worker, of its successor, …
VICTIM, SIBLING = 0, 1
TENANT_ID, TABLE, CLIENT, TOKEN = 1, 1, 77, 1234
LATE_ID, LATE_TASKS = 2, 8  # a tenant whose tasks may take a millisecond: with so many, some end where they wait
COUNTER, HELD, SECOND = ((key).to_bytes(8, "little") for key in (1, 2, 3))
BATCHES = ((b"passing 0", b"stays 0"), (b"passing 1", b"stays 1"))  # of each core's batches
PAIRS = ((b"victim's", b"other of victim's"), (b"sibling's", b"other of sibling's"))  # of each core's transactions
LARGE = bytes(range(256)) * 8  # of two fragments
SKIPS = (0, 1, 4)
BUMP_SKIPS = range(12)
# Deaths that leave what only a successor comes by: a task that had written, while it runs or replies; half a batch.
FIRST_DEATHS = (
    (WorkerPoint.TASK_RUNNING, 5),
    (WorkerPoint.TASK_REPLYING, 0),
    (WorkerPoint.TASK_REPLYING, 1),
    (WorkerPoint.REQUEST_SERVED, 3),
)
COUNTERS = ((TABLE, COUNTER), (TABLE, SECOND), (2, COUNTER), (2, HELD), (2, SECOND))  # of bump, and of loose
TASKS = 64  # of a worker: what is asked again while it runs has one more
ROUND_SECONDS_MAX = 20
ATTEMPTS_MAX = 20  # a socket decides which datagrams make a batch, so that not every try leaves half of one
IMPORTS = "from splinter.ext import Store, extension, u64\n"
COUNTING = IMPORTS + (
    "@extension\ndef counting(db: Store, turns: u64) -> u64:\n    for i in range(turns):\n        yield\n    return turns\n"
)
# A transaction of two objects; and one whose puts stand for themselves, with a yield between them.
BUMP = IMPORTS + (
    "@extension\ndef bump(db: Store, turns: u64) -> u64:\n    found = db.get(1, 1)\n    if found is None:\n        return 0\n"
    "    value = found.u64(0) + 1\n    db.put(1, 1, value)\n    for i in range(turns):\n        yield\n"
    "    db.put(1, 3, value)\n    return value\n"
)
LOOSE = IMPORTS + (
    "@extension(isolation='none')\ndef loose(db: Store, turns: u64) -> u64:\n"
    "    for key in range(1, 3):\n        found = db.get(2, key)\n        if found is None:\n            return 0\n"
    "        db.put(2, key, found.u64(0) + 1)\n        if key == 1:\n            db.add(2, 3, 1)\n"
    "        for i in range(turns):\n            yield\n    return 1\n"
)
HOLD = IMPORTS + (
    "@extension\ndef hold(db: Store, turns: u64) -> u64:\n    found = db.get(1, 2)\n    if found is None:\n        return 0\n"
    "    before = found.u64(0)\n    for i in range(turns):\n        yield\n    return 1 if found.u64(0) == before else 2\n"
)
UNTOUCHED = (1).to_bytes(8, "little")  # what hold returns when nobody wrote over the object that it had got


class Machine:
    """A store, two workers' memory and a device; nothing runs yet."""

    def __init__(self, *, udp: bool) -> None:
        tenants = Region.create("tenants", tenants_bytes())
        records = tenants.array(TENANT, limits.TENANTS_MAX)
        records["flags"][[TENANT_ID, LATE_ID]], records["token"][[TENANT_ID, LATE_ID]] = TENANT_ACTIVE, TOKEN
        records["task_wall_milliseconds_max"][LATE_ID] = 1
        records["task_yields_max"][LATE_ID] = 1 << 31
        self.store = Store.create(limits.STORE_BYTES_MIN, tenants_region=tenants, participants=2)
        self.store.open_tenant(TENANT_ID)
        self.store.open_tenant(LATE_ID)
        self.texts, self.code = build_texts(), CodeRegion.create()
        self.workers = [
            WorkerMemory(
                index, store=self.store.address, tenants=tenants.address, rates=0, texts=self.texts.ctypes.data, tasks=TASKS,
                tasks_per_tenant=TASKS, task_budget=limits.TASK_BUDGET, task_yields_max=1000, task_milliseconds_max=10_000,
                task_wall_milliseconds_max=60_000, cycles_per_millisecond=cycles_per_millisecond(),
                quarantine_after=limits.QUARANTINE_AFTER, idle_spin_ns=0, udp=udp,
            )
            for index in (VICTIM, SIBLING)
        ]  # fmt: skip
        introduce(self.workers, stealing=True)
        self.device = SocketDevice(self.workers, VICTIM) if udp else MemoryDevice(self.workers)
        self.serve = entry(udp=udp)
        for number, source in enumerate((COUNTING, BUMP, LOOSE, HOLD)):
            compiled = compile_source(source)
            address, at = self.code.write(compiled.code)
            value = record.build(compiled, address, at, 1, number)
            for tenant in (TENANT_ID, LATE_ID):
                self.store.put(tenant, limits.TABLE_EXTENSIONS, compiled.name.encode(), value)
        for table, key in COUNTERS:
            self.store.put(TENANT_ID, table, key, bytes(8))
        self.store.put(TENANT_ID, TABLE, HELD, bytes(40))
        self.sequence = 0

    def counters(self) -> list[int]:
        """How often ``bump`` has had its effect, told by both of its objects, and ``loose`` each of its three."""
        return [int.from_bytes(self.store.get(TENANT_ID, table, key) or b"", "little") for table, key in COUNTERS]


class Round:
    """Some requests, and workers that die while they serve them; the last one lives until all is answered."""

    def __init__(self, machine: Machine, deaths: Deaths, *, only_bumps: bool = False, crashes: bool = False) -> None:
        """``only_bumps``: what transactions write is the only thing that is written. ``crashes``: deaths are a task's fault."""
        self.machine, self.deaths, self.crashes = machine, list(deaths), crashes
        self.where = ", then ".join(f"{name_of(point)} {skip}" for point, skip in deaths) or "no death"
        self.acknowledged = machine.sequence + 1
        self.expected: dict[bytes, bytes | None] = {}
        self.requests: dict[Identity, tuple[int, bytes]] = {}  # core, payload
        self.replies: dict[Identity, tuple[Status, bytes]] = {}
        self.batches: dict[Identity, int] = {}  # how many requests each has
        self.keys: dict[bytes, list[Identity]] = {}  # of puts and deletes: the requests that make up each
        self.bumps: list[Identity] = []  # invokes of bump
        self.batched: dict[Identity, bytes] = {}  # of them those in a batch, and what each is by itself
        self.loose: list[Identity] = []
        self.holds: list[Identity] = []
        self.late: list[Identity] = []
        self.died: list[int] = []  # points
        self.pid = 0  # of the worker; 0: none runs
        if only_bumps:
            for core in (VICTIM, SIBLING):
                self.batched_bump(core)
                self.bump(core)
                self.transact(core, machine.sequence.to_bytes(8, "little"))
        else:
            self.ask_everything()

    def ask_everything(self) -> None:
        machine = self.machine
        value = machine.sequence.to_bytes(8, "little") * 5
        for core in (VICTIM, SIBLING):
            self.batched_bump(core)  # before a task waits, behind which it would have to
            self.holds.append(self.ask(core, Opcode.INVOKE, b"hold", (20).to_bytes(8, "little")))
            self.put_large(core, f"large {core}".encode(), machine.sequence.to_bytes(8, "little") + LARGE)
            if core == VICTIM:
                self.change(core, Opcode.PUT, HELD, value)  # retires what hold has got
            for number in range(3):
                self.change(core, Opcode.PUT, f"put {core} {number}".encode(), value)
            self.ask(core, Opcode.INVOKE, b"counting", (3).to_bytes(8, "little"))
            self.bump(core)
            self.transact(core, value)
            self.batch(core, value)
            machine.store.put(TENANT_ID, TABLE, f"gone {core}".encode(), value)
            self.change(core, Opcode.DELETE, f"gone {core}".encode(), b"")
            self.ask(core, Opcode.GET, COUNTER, b"")
        for _ in range(LATE_TASKS):
            self.late.append(self.ask(VICTIM, Opcode.INVOKE, b"counting", (1 << 40).to_bytes(8, "little"), tenant=LATE_ID))

    def ask(
        self, core: int, opcode: Opcode, key: bytes, value: bytes, fragment: tuple[int, int] = (0, 0), tenant: int = TENANT_ID
    ) -> Identity:
        """``fragment``: index and count; all but the first have the number of the request before."""
        index, count = fragment
        if index == 0:
            self.machine.sequence += 1
        header = Header(
            opcode=opcode, tenant=tenant, token=TOKEN, table=TABLE, key_length=len(key), value_length=len(value), client=CLIENT,
            sequence=self.machine.sequence, acknowledged=self.acknowledged, fragment_index=index, fragment_count=count,
        )  # fmt: skip
        self.requests[self.machine.sequence, index] = (core, header.pack() + key + value)
        return self.machine.sequence, index

    def bump(self, core: int) -> None:
        self.bumps.append(self.ask(core, Opcode.INVOKE, b"bump", (2).to_bytes(8, "little")))
        self.loose.append(self.ask(core, Opcode.INVOKE, b"loose", (2).to_bytes(8, "little")))

    def batched_bump(self, core: int) -> None:
        """In a batch of its own. Who is told nothing sends it by itself, under the same number."""
        alone = self.ask(core, Opcode.INVOKE, b"bump", bytes(8))
        payload = self.requests[alone][1]
        body = One(Opcode.INVOKE, b"bump", bytes(8)).packed()
        header = Header.unpack(payload)
        header.opcode, header.key_length, header.value_length = Opcode.BATCH, 0, len(body)
        self.requests[alone] = (core, header.pack() + body)
        self.batched[alone] = payload
        self.bumps.append(alone)

    def change(self, core: int, opcode: Opcode, key: bytes, value: bytes) -> None:
        self.keys[key] = [self.ask(core, opcode, key, value)]
        self.expected[key] = value if opcode == Opcode.PUT else None

    def transact(self, core: int, value: bytes) -> None:
        """Two keys at once, while there is no object of a third."""
        body = [entries.puts(key, value, table=TABLE) for key in PAIRS[core]] + [entries.reads(b"never", entries.ABSENT)]
        asked = self.ask(core, Opcode.TRANSACT, b"", b"".join(body))
        self.keys |= {key: [asked] for key in PAIRS[core]}
        self.expected |= dict.fromkeys(PAIRS[core], value)

    def batch(self, core: int, value: bytes) -> None:
        """Several changes in one packet, each with a number of its own: the first would be refused if it came twice."""
        passing, stays = BATCHES[core]
        changes = [
            One(Opcode.PUT, passing, value, entries.ABSENT, TABLE), One(Opcode.PUT, stays, value, 0, TABLE),
            One(Opcode.DELETE, passing, table=TABLE),
        ]  # fmt: skip
        asked = self.ask(core, Opcode.BATCH, b"", b"".join(each.packed() for each in changes))
        self.machine.sequence += len(changes) - 1
        self.batches[asked] = len(changes)
        self.keys |= {passing: [asked], stays: [asked]}
        self.expected |= {passing: None, stays: value}

    def put_large(self, core: int, key: bytes, value: bytes) -> None:
        size = limits.FRAGMENT_BYTES
        count = -(-len(value) // size)
        pieces = [value[index * size : (index + 1) * size] for index in range(count)]
        self.keys[key] = [self.ask(core, Opcode.PUT, key, piece, (index, count)) for index, piece in enumerate(pieces)]
        self.expected[key] = value

    def fail(self, what: object) -> None:
        raise SystemExit(f"{self.where}: {what}")

    def send(self) -> None:
        """Send, or send again, what is not answered; and a packet that is no request, whose chunk goes back at once."""
        for identity, (core, payload) in self.requests.items():
            if identity not in self.replies:
                self.machine.device.deliver(core, payload)
        self.machine.device.deliver(VICTIM, b"malformed")

    def receive(self) -> None:
        for payload in self.machine.device.collect():
            header = Header.unpack(payload)
            status = Status(header.status)
            is_late = status == Status.EXTENSION_ERROR and (header.sequence, 0) in self.late
            is_blamed = self.crashes and status == Status.KILLED and header.opcode == Opcode.INVOKE
            if status != Status.OK and not is_late and not is_blamed:
                self.fail(f"request {header.sequence} was answered with {status.name}")
            if (header.sequence, 0) in self.batches:
                told = [each.status for each in answers(payload[limits.REQUEST_HEADER_BYTES :])]
                if told != [Status.OK] * self.batches[header.sequence, 0]:
                    self.fail(f"batch {header.sequence} was answered with {told}")
            identity = (header.sequence, header.fragment_index if header.opcode == Opcode.PUT else 0)
            if identity in self.batched and header.opcode == Opcode.BATCH:
                self.receive_batched(identity, answers(payload[limits.REQUEST_HEADER_BYTES :]))
                continue
            if identity in self.requests:  # on UDP a round may get what its predecessor asked for twice
                self.replies.setdefault(identity, (status, payload[limits.REQUEST_HEADER_BYTES :]))

    def receive_batched(self, identity: Identity, told: list[Answer]) -> None:
        if told:
            if told[0].status != Status.OK:
                self.fail(f"invoke {identity[0]} in a batch was answered with {told[0].status.name}")
            self.replies.setdefault(identity, (told[0].status, told[0].value))
        elif self.requests[identity][1] != self.batched[identity]:
            self.requests[identity] = (self.requests[identity][0], self.batched[identity])
            self.machine.device.deliver(*self.requests[identity])

    def run(self) -> list[int]:
        """Returns the points at which workers died."""
        machine, block = self.machine, self.machine.workers[VICTIM].block
        before, deadline = machine.counters(), time.monotonic() + ROUND_SECONDS_MAX
        self.send()
        self.start()
        try:
            self.watch(deadline)
        finally:
            self.end()
        block["stop"] = 0
        machine.store.descriptor["kill_at"] = 0
        self.check(before)
        return self.died

    def watch(self, deadline: float) -> None:
        """Until a worker has ended well."""
        machine, block = self.machine, self.machine.workers[VICTIM].block
        while True:
            self.receive()
            # In this order: what it took before no packet waited, a worker has served when it sleeps.
            is_done = len(self.replies) == len(self.requests) and machine.device.is_at_rest()
            if is_done and block["state"][0] == STATE_SLEEPING and not block["tasks_live"][0]:
                block["stop"] = 1
            machine.workers[VICTIM].wake()
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
                if os.waitstatus_to_exitcode(status) == 0:
                    return
                if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                    self.fail(f"the worker ended with {os.waitstatus_to_exitcode(status)}")
                self.died.append(self.deaths.pop(0)[0])
                self.recover()
                self.receive()
                self.send()
                self.start()
            elif time.monotonic() > deadline:
                missing = sorted(set(self.requests) - set(self.replies))
                self.fail(f"not at rest in time: requests {missing} unanswered, {block['tasks_live'][0]} tasks")
            else:
                time.sleep(0.0001)  # between two looks, so that the worker gets the CPU; the deadline decides

    def end(self) -> None:
        """No worker outlives its round, whatever was found."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def start(self) -> None:
        """Fork a worker, which dies where it is its turn to."""
        machine = self.machine
        block, descriptor = machine.workers[VICTIM].block, machine.store.descriptor
        block["started"], block["state"], block["running_task"] = 0, STATE_STARTING, 0
        block["stop"] = 0  # the predecessor had been told to stop and died on its way
        descriptor["kill_at"], descriptor["kill_skip"] = self.deaths[0] if self.deaths else (0, 0)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with_parent(parent)
                machine.serve(machine.workers[VICTIM].address)
            except BaseException as error:
                print(f"{self.where}: {error!r}", file=sys.stderr)
                os._exit(2)
            os._exit(0)

    def recover(self) -> None:
        """As the supervisor (splinter.server.supervisor.seats) does, and what must hold between a worker and its successor."""
        machine, worker = self.machine, self.machine.workers[VICTIM]
        machine.store.descriptor["kill_at"] = 0
        recover(machine.store, worker, is_stuck=False, has_crashed=self.crashes)
        machine.device.recover(worker)
        if held := machine.device.locks_held():
            self.fail(f"ring locks are held after recovery, by {held}")
        found = [{machine.store.get(TENANT_ID, TABLE, key) for key in pair} for pair in PAIRS]
        if problems := machine.store.problems() + [f"half a transaction: {pair}" for pair in found if len(pair) > 1]:
            self.fail(f"after recovery: {problems}")
        live = worker.tasks[worker.tasks["state"] != TASK_FREE]
        epoch = int(machine.store.participants[VICTIM]["epoch"])
        if epoch > min(map(int, live["epoch"]), default=epoch):
            self.fail(f"the dead worker's epoch is {epoch}, its tasks hold {live['epoch'].tolist()}")
        if not len(live) and epoch != EPOCH_OFFLINE:
            self.fail("a dead worker without tasks holds an epoch")
        self.receive()
        for key, identities in self.keys.items():
            if all(identity in self.replies for identity in identities):
                self.check_key(key)

    def check_key(self, key: bytes) -> None:
        found = self.machine.store.get(TENANT_ID, TABLE, key)
        if found != self.expected[key]:
            self.fail(f"an acknowledged change of {key!r} is missing: {found!r}")

    def check(self, before: list[int]) -> None:
        """At rest: everything acknowledged is there, once; nothing is held, lost or left over."""
        machine = self.machine
        for key in self.expected:
            self.check_key(key)
        for identity in self.holds:
            status, found = self.replies[identity]
            if status == Status.OK and found != UNTOUCHED:
                self.fail(f"an object was written over that a task held: {found!r}")
        gone = [now - count for now, count in zip(machine.counters(), before, strict=True)]
        bumps, loose = (sum(self.replies[each][0] == Status.OK for each in asked) for asked in (self.bumps, self.loose))
        # Of one that is killed nothing is done, but without isolation what it had come to.
        if gone[:2] != [bumps] * 2 or not all(loose <= count <= len(self.loose) for count in gone[2:]):
            self.fail(
                f"the counters went up by {gone}, after {bumps} of {len(self.bumps)} and {loose} of {len(self.loose)} invokes"
            )
        worker = machine.workers[VICTIM]
        if (worker.tasks["state"] != TASK_FREE).any():
            self.fail(f"tasks are left: {worker.tasks['state'].tolist()}")
        if sorted(free := worker.free_tasks()) != list(range(len(worker.tasks))):
            self.fail(f"of {len(worker.tasks)} tasks these are free: {free}")
        if worker.block["oldest_epoch"][0] != OLDEST_NONE:
            self.fail(f"no task lives, and the epoch {worker.block['oldest_epoch'][0]} is held")
        if problems := machine.store.problems() + machine.device.problems():
            self.fail(problems)


def name_of(point: int) -> str:
    """A point's name."""
    return WorkerPoint(point).name if point in WorkerPoint.__members__.values() else KillPoint(point).name


def entry(*, udp: bool) -> Callable[[int], None]:
    """The loop, compiled."""
    name = "udp" if udp else "xdp"
    loop: Any = getattr(import_module(f"splinter.worker.{name}.loop"), f"serve_{name}")
    loop.compile((types.int64,))
    return loop


def main() -> None:
    """Go through all points: the worker's, and on XDP the store's as well."""
    assert kill_points.ENABLED
    udp = "udp" in sys.argv
    machine = Machine(udp=udp)
    Round(machine, []).run()  # compiles everything
    begin = time.monotonic()
    died: Counter[str] = Counter()
    for point in [*(set(WorkerPoint) - XDP_ONLY)] if udp else [*(set(WorkerPoint) - UDP_ONLY), *STORE_POINTS]:
        plans: list[Deaths] = [[(point, skip)] for skip in SKIPS] + [[first, (point, 0)] for first in FIRST_DEATHS]
        is_blamed = point == WorkerPoint.REFUSAL_SENT
        if is_blamed:  # only a second crash in one task comes to that
            plans = [
                [(WorkerPoint.TASK_RUNNING, one), (WorkerPoint.TASK_RUNNING, two), (point, 0)]
                for one in range(6)
                for two in range(24)
            ]
        for _ in range(ATTEMPTS_MAX):
            for plan in plans:
                died.update(name_of(where) for where in Round(machine, plan, crashes=is_blamed).run())
            if died[name_of(point)]:
                break
        if isinstance(point, KillPoint):
            for skip in BUMP_SKIPS:  # within a task's write
                Round(machine, [(point, skip)], only_bumps=True).run()
    stolen = int(machine.workers[VICTIM].block["counters"]["stolen"][0])
    print(json.dumps({"died": died, "stolen": stolen, "seconds": round(time.monotonic() - begin, 1)}))


if __name__ == "__main__":
    main()

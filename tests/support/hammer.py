"""Gets by the million of a few keys that are written meanwhile, each reply checked: what ``scripts/hammer`` runs.

Readers make their requests in the kernel, and an XDP program checks the replies where they come in (``bpf/hammer.c``), so that
the checks keep up with the kernel tier. Every value tells its key and its number, and all of its words are made from these.
Each key has one writer, a process with a Python client, which writes down in shared memory what was acknowledged. A request
takes along what was there when it was made. So no reply may be

* torn: with words of two values, or of another length than its number has;
* foreign: with another key's value;
* stale: with a value older than one whose put was acknowledged, or that a reply has shown, before the request was made;
* missed: NOT_FOUND, though the key was there from before the request until after the reply.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame
from splinter_bench.generators.kernel import MadeProgram
from splinter_bench.generators.path import find
from splinter_bench.process import pinned

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.net import netns
from splinter.net.bpf import MapForm, maps
from splinter.net.bpf.maps import Kind
from splinter.net.xdp.program import Program
from splinter.wire import H_CLIENT, H_SEQUENCE, HEADER, Header, Opcode
from tests.support import forks
from tests.support.histories import Killer, Mover
from tests.support.proxy import Faults, Proxy
from tests.support.servers import RunningServer, running_server

KEYS, WRITERS, TABLE = 16, 4, 1
KEY = np.dtype([("written", "<u8"), ("deletes", "<u8"), ("shown", "<u8")])  # struct key of bpf/hammer.c
GOOD = ("kernel_hit", "kernel_miss", "worker_hit", "worker_miss", "other")
BAD = ("torn", "foreign", "stale", "missed")
FOUND = (*GOOD, *BAD)  # enum found
WORDS_MIN, WORDS_MAX = 2, 12
SOURCE_PORT = 40_002
SECONDS_DEFAULT = 600.0
TIMEOUT_SECONDS = 20.0  # of a writer: longer than any outage
KILL_EVERY_SECONDS, MOVE_EVERY_SECONDS = 0.3, 0.5
_SHOW_EVERY_SECONDS, _LOOK_SECONDS, _SLICE_SECONDS = 10.0, 0.1, 0.5
_DELETED_SHARE, _READ_SHARE = 0.05, 0.25  # of a writer's turns
_READERS_NICE = -5  # beside writers and workers, which are many more
_M64 = (1 << 64) - 1


def mix(value: int) -> int:
    """As in bpf/hammer.c."""
    value = value * 0x9E3779B97F4A7C15 & _M64
    return value ^ value >> 29


def value_of(key: int, number: int) -> bytes:
    """The value of this number: 16 to 96 bytes."""
    words = WORDS_MIN + (mix(number) >> 40) % (WORDS_MAX - WORDS_MIN + 1)
    rest = (mix(number * WORDS_MAX + at + (key << 56) & _M64) for at in range(WORDS_MIN, words))
    return struct.pack(f"<{words}Q", key, number, *rest)


class Checker(Program):
    """``check`` of bpf/hammer.c, at the device that ``route`` begins at."""

    def __init__(self, ifname: str, template: bytes, port: int) -> None:
        self.defines = {
            "KEYS": KEYS, "SOURCE_PORT": SOURCE_PORT, "PORT": port, "MADE_BYTES": len(template),
            "HEADERS_BYTES": FRAME_HEADER_BYTES,
        }  # fmt: skip
        self.forms = {
            "keys": MapForm.shared(KEY.itemsize, KEYS),
            "found": MapForm(Kind.PERCPU_ARRAY, 8, len(FOUND)),
        }
        super().__init__(ifname, "hammer.c", "check", self.defines, self.forms)
        self.keys = np.frombuffer(mmap.mmap(self.map_fd("keys"), KEY.itemsize * KEYS), KEY, KEYS)
        self._cells = struct.Struct(f"<{maps.possible_cpus()}Q")

    def counts(self) -> dict[str, int]:
        """Replies so far, by what they were."""
        fd, cells = self.map_fd("found"), self._cells
        return {name: sum(cells.unpack(maps.lookup(fd, at, cells.size))) for at, name in enumerate(FOUND)}


class Asker(MadeProgram):
    """``ask`` of bpf/hammer.c, over the checker's keys."""

    def __init__(self, checker: Checker, template: bytes) -> None:
        key_at = FRAME_HEADER_BYTES + HEADER.itemsize
        places = {
            "SEQUENCE_AT": FRAME_HEADER_BYTES + H_SEQUENCE, "CLIENT_AT": FRAME_HEADER_BYTES + H_CLIENT, "KEY_AT": key_at,
        }  # fmt: skip
        defines = {name: value for name, value in checker.defines.items() if name not in ("MADE_BYTES", "HEADERS_BYTES")}
        given = {"keys": checker.map_fd("keys")}
        forms = {"keys": checker.forms["keys"]}
        super().__init__(
            checker.ifname, "hammer.c", "ask", template, FRAME_HEADER_BYTES, places, defines, forms, given
        )  # fmt: skip


@dataclass
class Writer:
    """One process's writing of its own keys; what it did, and what it found wrong."""

    puts: int = 0
    deletes: int = 0
    gets: int = 0
    by_kernel: int = 0  # of the gets, and of what else was answered there
    wrong: list[str] = field(default_factory=list)

    def work(self, client: Client, keys: np.ndarray, mine: list[int], dice: random.Random, stops: Callable[[], bool]) -> None:
        """Put, delete and get until it is to stop, or something is wrong."""
        while not stops() and not self.wrong:
            key = dice.choice(mine)
            number = int(keys["written"][key]) + 1
            is_deleted = dice.random() < _DELETED_SHARE
            if is_deleted:
                keys["deletes"][key] += 1
                client.delete(key, table=TABLE)
                self.deletes += 1
                self._look(client, key, None, dice)
            client.put(key, value_of(key, number), table=TABLE)
            self.puts += 1
            keys["written"][key] = number
            if is_deleted:
                keys["deletes"][key] += 1
            self._look(client, key, value_of(key, number), dice)
        self.by_kernel = client.kernel_replies

    def _look(self, client: Client, key: int, expected: bytes | None, dice: random.Random) -> None:
        """Nobody else writes this key, and the reply to the write has come: now it is what everybody sees."""
        if dice.random() < _READ_SHARE:
            self.gets += 1
            found = client.get(key, table=TABLE)
            if found != expected:
                self.wrong.append(f"key {key}: {found!r} after the write of {expected!r} was acknowledged")


@dataclass
class Verdict:
    """Of a whole run. ``replies`` are the readers', by what they were."""

    seconds: float = 0.0
    asked: int = 0
    replies: dict[str, int] = field(default_factory=dict)
    writers: list[Writer] = field(default_factory=list)
    kills: int = 0
    moves: int = 0

    @property
    def findings(self) -> list[str]:
        """Everything that must not be."""
        bad = [f"{self.replies[name]} replies {name}" for name in BAD if self.replies[name]]
        return [*bad, *(text for writer in self.writers for text in writer.wrong)]

    def __str__(self) -> str:
        puts, deletes, gets, by_kernel = (
            sum(getattr(writer, name) for writer in self.writers) for name in ("puts", "deletes", "gets", "by_kernel")
        )
        told = ", ".join(f"{count:,} {name}" for name, count in self.replies.items() if count or name in BAD)
        return (
            f"{self.seconds:.0f} s: {self.asked:,} gets made, answered: {told}; {puts:,} puts and {deletes:,} deletes, "
            f"{gets:,} of them looked at ({by_kernel:,} by the kernel); {self.kills} workers killed, {self.moves} moves"
        )


@dataclass(frozen=True)
class Plan:
    """How hard: ``reader_cpus`` have a reader each, ``rate`` gets a second at most (None: as many as they can)."""

    seconds: float
    seed: int
    reader_cpus: tuple[int, ...]
    rate: float | None = None
    kills: bool = False
    moves: bool = False
    faults: bool = False  # of the writers' network


def hammer(server: RunningServer, plan: Plan, show: Callable[[str], None] = lambda _: None) -> Verdict:
    """Write and read until the time is over or something is wrong."""
    tenant, info = server.admin().create_tenant(), server.info
    path = find(info.address, info.client_netns)
    template = _request(tenant, path.route(SOURCE_PORT, info.port))
    verdict, stop = Verdict(), np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint8)
    with contextlib.ExitStack() as stack:
        stack.enter_context(netns.inside(info.client_netns))
        checker = stack.enter_context(Checker(path.device, template, info.port))
        askers = [stack.enter_context(Asker(checker, template)) for _ in plan.reader_cpus]
        first = server.client(tenant, timeout=TIMEOUT_SECONDS)
        for key in range(KEYS):
            first.put(key, value_of(key, 1), table=TABLE)
            checker.keys["written"][key] = 1
        checker.attach()
        stops = partial(_is_set, stop)
        children = [forks.start(partial(_write, server, tenant, checker, slot, plan, stops)) for slot in range(WRITERS)]
        gap_ns = int(1e9 * len(askers) / plan.rate) if plan.rate else 0
        children += [
            forks.start(partial(_read, asker, cpu, gap_ns, stops))
            for asker, cpu in zip(askers, plan.reader_cpus, strict=True)
        ]  # fmt: skip
        try:
            _watch(server, tenant, checker, plan, verdict, show)
        finally:
            stop[0] = 1
            ends = [child() for child in children]
        verdict.writers = ends[:WRITERS]
        verdict.asked, verdict.replies = sum(asker.made for asker in askers), checker.counts()
    return verdict


def _is_set(stop: np.ndarray) -> bool:
    return bool(stop[0])


def _request(tenant: TenantInfo, route: Route) -> bytes:
    asked = Header(opcode=Opcode.GET, tenant=tenant.tenant, token=tenant.token, table=TABLE, key_length=8)
    return frame(route, asked.pack() + bytes(8))


def _read(asker: Asker, cpu: int, gap_ns: int, stops: Callable[[], bool]) -> None:
    os.nice(_READERS_NICE)
    with pinned(cpu):
        while not stops():
            asker.send(_SLICE_SECONDS, gap_ns)


def _write(
    server: RunningServer, tenant: TenantInfo, checker: Checker, slot: int, plan: Plan, stops: Callable[[], bool]
) -> Writer:
    dice, writer = random.Random(plan.seed * WRITERS + slot), Writer()
    mine = list(range(slot, KEYS, WRITERS))
    with contextlib.ExitStack() as stack:
        if plan.faults:
            proxy = stack.enter_context(Proxy(server, Faults(), dice.getrandbits(32)))
            client = proxy.client(tenant, timeout=TIMEOUT_SECONDS)
        else:
            client = server.client(tenant, timeout=TIMEOUT_SECONDS)
        stack.enter_context(client)
        writer.work(client, checker.keys, mine, dice, stops)
    return writer


def _watch(
    server: RunningServer, tenant: TenantInfo, checker: Checker, plan: Plan, verdict: Verdict, show: Callable[[str], None]
) -> None:  # fmt: skip
    begun = time.monotonic()
    show_at = begun + _SHOW_EVERY_SECONDS
    with contextlib.ExitStack() as stack:
        killer: Any = stack.enter_context(Killer(server, plan.seed, KILL_EVERY_SECONDS)) if plan.kills else None
        mover: Any = stack.enter_context(Mover(server, [tenant], plan.seed, MOVE_EVERY_SECONDS)) if plan.moves else None
        while time.monotonic() < begun + plan.seconds and not any(checker.counts()[name] for name in BAD):
            time.sleep(_LOOK_SECONDS)  # it goes on for its time and waits for nothing; looks take the readers' CPU
            if time.monotonic() > show_at:
                show_at += _SHOW_EVERY_SECONDS
                show(f"{time.monotonic() - begun:.0f} s: {checker.counts()}")
    verdict.seconds = time.monotonic() - begun
    verdict.kills, verdict.moves = killer.kills if killer else 0, mover.moves if mover else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/hammer", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help=f"by default {SECONDS_DEFAULT:g}")
    parser.add_argument("--rate", type=float, help="gets a second at most; by default as many as can be made")
    parser.add_argument("--kills", action="store_true", help="kill workers meanwhile")
    parser.add_argument("--moves", action="store_true", help="move the tenant between cores meanwhile")
    parser.add_argument("--faults", action="store_true", help="lose, repeat and delay the writers' packets")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    plan = Plan(
        options.seconds, options.seed, cpus, options.rate, kills=options.kills, moves=options.moves, faults=options.faults
    )  # fmt: skip
    with running_server(f"t{os.getpid()}x0", "xdp", "--cores", ",".join(map(str, cpus))) as server:
        verdict = hammer(server, plan, lambda text: print(text, flush=True))
    print(verdict)
    print("\n".join(verdict.findings) or "nothing is torn, foreign, stale or missed")
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())

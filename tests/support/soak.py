"""A server with a data folder at work for an hour and longer: objects that end, a tenant that evicts, snapshots, stops and
deaths, and what it takes of memory and disk meanwhile; what ``scripts/soak`` runs."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from splinter import limits
from splinter.client import Client
from splinter.durable.snapshots import snapshots_in
from tests.support.crash_storm import OnDisk, arguments, of_script
from tests.support.kill_all import TIMEOUT_SECONDS, kill_everything, processes
from tests.support.kill_storm import MEMORY, Crew, Storm, Verdict, storm
from tests.support.soak_cache import SoakCache
from tests.support.storm_client import EXTENSIONS, StormClient

MINUTES_DEFAULT, EVERY_DEFAULT = 60.0, 45.0
_EVER = sys.maxsize  # kills: time alone ends a soak
_SAMPLE_SECONDS = 5.0
_STOP_SECONDS = 60.0
_ENDING, _ENDING_KEYS = 9, 500
_TTL_SECONDS = (0.3, 1.0, 5.0, 60.0)
_SKEW_SECONDS = 0.1  # between the clients' clock and the store's, after a start
_PAUSE_SECONDS_MAX = 0.02  # of a client between two operations: this is about what lasts, and not about speed
_BULK = 48  # objects that one operation overwrites: the log is to have a snapshot's length again and again
_BULK_BYTES = 4000
# Memory is flat when the last third of a soak has no more than the middle one, but for this.
_GROWTH_SHARE, _GROWTH_BYTES = 0.05, 16 << 20
_START = "attached", "from the disk"


class SoakClient(StormClient):
    """Does everything that a :class:`StormClient` does but grind, and has objects that end."""

    def __init__(self, client: Client, number: int, seed: int) -> None:
        super().__init__(client, number, seed)
        self._ends: dict[bytes, tuple[bytes, float, float]] = {}  # value; when it ends at the earliest, and at the latest
        self._bulk = 0
        self.operations = [
            self._put, self._get, self._get, self._delete, self._compare_and_put, self._put_many, self._get_many,
            self._count_up, self._put_ending, self._put_ending, self._get_ending, self._get_ending, self._put_bulk,
        ]  # fmt: skip

    def _attempt(self, operation: object) -> bool:
        threading.Event().wait(self._dice.uniform(0, _PAUSE_SECONDS_MAX))  # never set
        return super()._attempt(operation)  # type: ignore[arg-type]

    def _ending_key(self) -> bytes:
        return f"{self._number} ends {self._dice.randrange(_ENDING_KEYS)}".encode()

    def _put_ending(self) -> None:
        key, value, ttl = self._ending_key(), self._value(), self._dice.choice(_TTL_SECONDS)
        sent = time.time()
        self._client.put(key, value, table=_ENDING, ttl=ttl)
        self._ends[key] = value, sent + ttl - _SKEW_SECONDS, time.time() + ttl + _SKEW_SECONDS
        self._wrote()

    def _get_ending(self) -> None:
        key = self._ending_key()
        expected, earliest, latest = self._ends.get(key, (None, 0.0, 0.0))
        asked = time.time()
        value = self._client.get(key, table=_ENDING)
        answered = time.time()
        self.tally.requests += 1
        what = f"client {self._number}, key {key!r}"
        if value is not None and value != expected:
            self.tally.wrong.append(f"{what}: another value than was put")
        elif value is not None and asked > latest:
            self.tally.wrong.append(f"{what}: is there {asked - latest:.3f} s after its end")
        elif value is None and answered < earliest:
            self.tally.lost.append(f"{what}: is gone {earliest - answered:.3f} s before its end")

    def _put_bulk(self) -> None:
        keys = (f"{self._number} bulk {(self._bulk + number) % 1000}".encode() for number in range(_BULK))
        self._client.put_many(((key, self._dice.randbytes(_BULK_BYTES)) for key in keys), table=_ENDING)
        self._bulk += _BULK
        self._wrote(_BULK)


SOAK = Crew(SoakClient, EXTENSIONS, share=2)


@dataclass
class Samples:
    """What a server took, in bytes, at moments of a soak."""

    folder: Path
    memory: list[int] = field(default_factory=list)  # of its processes: what is their own, and their share of what is not
    disk: list[int] = field(default_factory=list)
    snapshots: set[str] = field(default_factory=set)

    def take(self, supervisor: int) -> None:
        """Note what it takes now."""
        self.memory.append(sum(map(_memory_of, [supervisor, *processes(supervisor)])))
        self.disk.append(sum(_size(path) for path in self.folder.rglob("*")))
        self.snapshots |= {path.name for path in snapshots_in(self.folder / "snapshots")}

    @property
    def findings(self) -> list[str]:
        """What has grown that must not."""
        third = len(self.memory) // 3
        middle, last = self.memory[third : 2 * third], self.memory[2 * third :]
        found = []
        if middle and statistics.median(last) > statistics.median(middle) * (1 + _GROWTH_SHARE) + _GROWTH_BYTES:
            found.append(f"memory grew from {_mib(statistics.median(middle))} to {_mib(statistics.median(last))}")
        # The log and its spare segments, two snapshots of a store that is full, and what is copied into new segments.
        most = 2 * limits.LOG_BYTES_MIN + 4 * limits.LOG_SEGMENT_BYTES + 2 * _bytes_of(MEMORY)
        if max(self.disk, default=0) > most:
            found.append(f"the data folder had {_mib(max(self.disk))}, of at most {_mib(most)}")
        return found

    def __str__(self) -> str:
        if not self.memory:
            return "nothing seen"
        return (
            f"memory {_mib(self.memory[0])} at first, {_mib(self.memory[-1])} at last, {_mib(max(self.memory))} at most; "
            f"disk {_mib(self.disk[-1])}, {_mib(max(self.disk))} at most; {len(self.snapshots)} snapshots seen"
        )


def _memory_of(pid: int) -> int:
    """Of a process, as :class:`Samples` counts it; 0: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:  # it was let go of just now
        return 0


def _bytes_of(text: str) -> int:
    return int(text.removesuffix("MiB")) << 20


def _mib(count: float) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


def soak(
    made: OnDisk, minutes: float, every: float, seed: int, crew: Crew = SOAK, *, ends: int = 0
) -> tuple[Verdict, Samples, Counter[str]]:
    """Have a crew work for so many minutes, or until the server has ended ``ends`` times (0: for all that time), and end it
    ``every`` so many seconds: it is stopped, or killed with all its
    processes, and started on the store that is left, or from its data folder. Returns what was found, what the server took,
    and what was done how often."""
    server, lab, options = made.server, made.lab, made.options
    samples, done = Samples(made.folder), Counter[str]()

    def strike(work: Storm) -> None:
        work.wait_for_all()
        until = time.monotonic() + every
        while time.monotonic() < until and not work.is_over:
            threading.Event().wait(_SAMPLE_SECONDS)  # never set
            samples.take(server.info.pid)
        is_stopped, is_fresh = work.dice.random() < 0.5, work.dice.random() < 0.5
        if is_stopped:
            os.kill(server.info.pid, signal.SIGTERM)
            if status := server.process.wait(_STOP_SECONDS):
                work.verdict.wrong.append(f"a stop ended with status {status}")
        else:
            kill_everything(server, "at random", work.dice)
        work.go_on(lab, *options, *(["--fresh"] if is_fresh else []))
        done["stopped" if is_stopped else "killed"] += 1
        done[_START[is_fresh]] += 1
        print(f"{work.requests:,} requests; {dict(done)}; {samples}", flush=True)

    cache = SoakCache(server, seed)
    # The control process, which moves tenants, is away at times. The cache rests when what is left is looked at.
    still = replace(crew, is_moved=False, check=lambda *_: cache.end(TIMEOUT_SECONDS))
    with cache.working(TIMEOUT_SECONDS):
        verdict = storm(
            server, ends or _EVER, seed, minutes * 60, lambda _: None, still, strike=strike, timeout=TIMEOUT_SECONDS
        )
    print(cache)
    verdict.kills_wanted = ends
    verdict.wrong += samples.findings
    return verdict, samples, done


def main() -> int:
    parser = arguments("scripts/soak", __doc__, MINUTES_DEFAULT)
    parser.add_argument("--every", type=float, default=EVERY_DEFAULT, help="seconds of work before each end of the server")
    given = parser.parse_args()
    with of_script(given, module="splinter") as made:
        verdict, samples, _ = soak(made, given.minutes, given.every, given.seed)
    print(verdict)
    print(samples)
    print("\n".join(verdict.findings) or "nothing is lost, doubled or there after its end; memory and disk are bounded")
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())

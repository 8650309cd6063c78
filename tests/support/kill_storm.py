"""Workers killed one after the other under load: what ``scripts/kill-storm`` runs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.sharedctypes import RawArray
from typing import Any

from splinter.client import Client
from splinter.client.admin import Admin
from splinter.errors import RequestTimeoutError
from splinter.net.lab import Lab
from tests.support.histories import Mover
from tests.support.servers import RunningServer
from tests.support.storm_client import EXTENSIONS, StormClient
from tests.support.storm_member import Member, Tally
from tests.support.waiting import wait_for

KILLS_DEFAULT, MINUTES_DEFAULT = 1000, 15.0
PROCESSES, THREADS = 2, 4  # clients
TIMEOUT_SECONDS = 20.0  # far more than any outage: a request that is not answered by then is a failure
REQUESTS_BETWEEN_KILLS = 50
PAUSE_SECONDS_MAX = 0.03  # after those, so that kills come at any moment of a worker's life
# Grinding clients replace objects as fast as a core can, and none of those can be used again while the oldest task lives: room
# for as long as a death, or another program on its CPU, may hold that task up. 64 MiB were full on a busy machine.
MEMORY = "512MiB"
STARTED_SECONDS, PROGRESS_SECONDS = 30.0, 30.0
MOVE_EVERY_SECONDS = 0.5
_SHOW_EVERY = 50
_TASK_MS = 60_000
_MEMBERS = PROCESSES * THREADS
# The shared array has each member's number of requests, whether each has done all, and whether all are to stop.
_DONE, _STOP = _MEMBERS, 2 * _MEMBERS

_shared: Any = None  # in a client's process: that array


def _join(shared: Any) -> None:
    global _shared
    _shared = shared


@dataclass(frozen=True)
class Crew:
    """Who works in a storm, and with what."""

    member: Callable[[Client, int, int], Member]  # of client, number and seed; pickled
    extensions: str
    share: int  # clients of one tenant
    is_moved: bool = False  # tenants are moved between cores meanwhile
    prepare: Callable[[Client], None] = lambda _: None  # a tenant, before the storm
    check: Callable[[Client, Tally], list[str]] = lambda *_: []  # a tenant, after it, with what all have found: what is wrong


STORM = Crew(StormClient, EXTENSIONS, share=2)


def _work(make: Callable[[Client, int, int], Member], wheres: list[dict[str, Any]], process: int, seed: int) -> Tally:
    """All clients of one process; runs in it. ``wheres`` has what Client takes, for each thread."""

    def work(thread: int) -> Tally:
        index = process * THREADS + thread
        with Client(**wheres[thread]) as client:
            for extension in client.extensions():  # while there is a control process to ask
                client.signature(extension.name)
            member = make(client, index, seed * 1000 + index)

            def done(requests: int) -> None:
                _shared[index] = requests

            try:
                member.work(lambda: bool(_shared[_STOP]), done)
            finally:
                _shared[_DONE + index] = 1
                if not member.tally.is_clean:
                    _shared[_STOP] = 1
            return member.tally

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return _sum(list(pool.map(work, range(THREADS))))


def _sum(tallies: list[Tally]) -> Tally:
    total = tallies[0]
    for tally in tallies[1:]:
        total.add(tally)
    return total


@dataclass
class Verdict:
    """What a storm did and found; ``outages`` are seconds from each kill to the first answer of the seat's next worker."""

    kills_wanted: int  # or more, until one has struck; 0: as many as come, until all is done
    kills: int = 0
    moves: int = 0  # of tenants
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    outages: list[float] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)  # the watchdog's counters, and some of the workers'
    wrong: list[str] = field(default_factory=list)  # beside what clients found

    @property
    def findings(self) -> list[str]:
        """Everything that must not be."""
        tally = self.tally
        few = [f"only {self.kills} of {self.kills_wanted} workers killed"] if self.kills < self.kills_wanted else []
        return [*tally.lost, *tally.wrong, *(f"unanswered: {text}" for text in tally.unanswered), *self.wrong, *few]

    def __str__(self) -> str:
        tally, server = self.tally, self.server
        outages = sorted(self.outages) or [0.0]
        return (
            f"{self.kills} workers killed, {self.moves} moves of tenants in {self.seconds:.0f} s; {tally.requests} requests, "
            f"{tally.acknowledged} acknowledged writes; {len(tally.lost)} lost, {len(tally.wrong)} wrong replies, "
            f"{len(tally.unanswered)} unanswered; counters: {tally.counted} increments acknowledged, {tally.counters} in the "
            f"store; the killed were in {server.get('writes_recovered', 0)} steps of the store, "
            f"held {server.get('locks_broken', 0)} locks, ran {server.get('tasks_running', 0)} tasks; "
            f"{server.get('duplicates', 0)} repetitions answered from the record; {server.get('conflicts', 0)} conflicts; "
            f"tasks: {server.get('tasks_continued', 0)} went on, {server.get('tasks_restarted', 0)} begun anew, "
            f"{tally.killed} killed; outage: median {outages[len(outages) // 2] * 1000:.1f} ms, "
            f"longest {outages[-1] * 1000:.1f} ms; longest call of a client {tally.longest_seconds * 1000:.0f} ms"
        )


@dataclass
class Storm:
    """A storm that goes on. ``probes`` are clients of tenants of their own, one for each core slot."""

    server: RunningServer
    verdict: Verdict
    shared: Any  # the array of all clients
    probes: list[Client]
    dice: random.Random

    @property
    def is_over(self) -> bool:
        """Whether something is wrong, or all is done."""
        return bool(self.shared[_STOP]) or all(self.shared[_DONE:_STOP])

    @property
    def requests(self) -> int:
        """Of all clients so far."""
        return int(sum(self.shared[:_MEMBERS]))

    def wait_for_requests(self, number: int = REQUESTS_BETWEEN_KILLS) -> None:
        """Until clients have made so many more, and then for a while of chance."""
        wanted = self.requests + number
        wait_for(lambda: self.is_over or self.requests >= wanted, PROGRESS_SECONDS, "the clients' progress")
        # An event that is never set: a pause of less than a millisecond is one, too.
        threading.Event().wait(self.dice.uniform(0, PAUSE_SECONDS_MAX))

    def wait_for_all(self) -> None:
        """Until each client has ended what it was at: then nothing lasts longer than a client may be silent."""
        before = list(self.shared[:_MEMBERS])
        wait_for(
            lambda: self.is_over or all(now > then for now, then in zip(self.shared[:_MEMBERS], before, strict=True)),
            PROGRESS_SECONDS, "the progress of every client",
        )  # fmt: skip

    def go_on(self, lab: Lab, *options: str, module: str = "splinter") -> None:
        """Start the server again, of which all processes have ended just now, and have it serve."""
        ended = time.monotonic()
        self.verdict.kills += 1
        self.server.start_again(lab, *options, module=module)
        self.ping(self.dice.randrange(len(self.probes)))
        self.verdict.outages.append(time.monotonic() - ended)

    def ping(self, slot: int) -> None:
        """Have a seat served again; else that is wrong, and the storm ends."""
        try:
            self.probes[slot].ping()
        except RequestTimeoutError as error:
            self.verdict.wrong.append(f"after kill {self.verdict.kills}, worker {slot}: {error}")
            self.shared[_STOP] = 1


def storm(
    server: RunningServer, kills: int, seed: int, seconds_max: float, show: Callable[[str], None] = lambda _: None,
    crew: Crew = STORM, until: str = "", strike: Callable[[Storm], None] | None = None, timeout: float = TIMEOUT_SECONDS,
) -> Verdict:  # fmt: skip
    """Kill random workers ``kills`` times while a crew works, or 0: until it has done all; stops early at what is wrong, or
    after ``seconds_max``. A watchdog's counter, named in ``until``, lets it go on until a kill has counted there: where a kill
    strikes is chance. ``strike`` kills something else, and counts that; ``timeout`` is the clients', in seconds."""
    verdict = Verdict(kills)
    admin = server.admin()
    slots = len(server.info.cores)
    # The machine may be busy with others: time in which a task does not get its CPU is the task's, too.
    patience = {"task_milliseconds_max": _TASK_MS, "task_wall_milliseconds_max": _TASK_MS}
    tenants = [admin.create_tenant(home=number % slots, **patience) for number in range(_MEMBERS // crew.share)]
    # Tenants of their own ask whether a seat is served again.
    probes = [server.client(admin.create_tenant(home=slot), timeout=timeout) for slot in range(slots)]
    owners = [server.client(tenant, timeout=timeout) for tenant in tenants]
    for owner in owners:
        owner.install_all(crew.extensions)
        crew.prepare(owner)
    before = admin.stats()
    shared = RawArray(ctypes.c_uint64, _STOP + 1)
    started = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(
        PROCESSES, multiprocessing.get_context("spawn"), initializer=_join, initargs=(shared,)
    ) as pool:
        jobs = []
        for process in range(PROCESSES):
            mine = [tenants[(process * THREADS + thread) // crew.share] for thread in range(THREADS)]
            wheres = [
                {
                    "address": server.info.address, "port": server.info.port, "netns": server.info.client_netns,
                    "tenant": tenant.tenant, "token": tenant.token, "timeout": timeout,
                }
                for tenant in mine
            ]  # fmt: skip
            jobs.append(pool.submit(_work, crew.member, wheres, process, seed))
        try:
            with Mover(server, tenants, seed, MOVE_EVERY_SECONDS) if crew.is_moved else contextlib.nullcontext() as mover:
                struck = partial(_is_counted, admin, until, before) if until else lambda: True
                work = Storm(server, verdict, shared, probes, random.Random(seed))
                _kill(work, started + seconds_max, struck, strike or partial(_kill_worker, show=show))
        finally:
            shared[_STOP] = 1
        verdict.tally = _sum([job.result() for job in jobs])
    verdict.moves = mover.moves if mover else 0
    verdict.seconds = time.monotonic() - started
    verdict.wrong += [text for owner in owners for text in crew.check(owner, verdict.tally)]
    _look_at_the_rest(server.admin(), verdict, before)
    return verdict


def _kill(work: Storm, deadline: float, has_struck: Callable[[], bool], strike: Callable[[Storm], None]) -> None:
    verdict, shared = work.verdict, work.shared
    wait_for(lambda: work.is_over or all(shared[:_MEMBERS]), STARTED_SECONDS, "every client's first reply")
    wanted = verdict.kills_wanted or sys.maxsize
    while (verdict.kills < wanted or not has_struck()) and not work.is_over and time.monotonic() < deadline:
        strike(work)


def _kill_worker(work: Storm, show: Callable[[str], None]) -> None:
    server, verdict = work.server, work.verdict
    work.wait_for_requests()
    slot = work.dice.randrange(len(work.probes))
    old = wait_for(lambda: server.workers().get(slot), what="the worker")
    with contextlib.suppress(ProcessLookupError):
        os.kill(old, signal.SIGKILL)
        killed = time.monotonic()
        verdict.kills += 1
        wait_for(lambda: server.workers().get(slot, old) != old, STARTED_SECONDS, "the successor")
        work.ping(slot)
        verdict.outages.append(time.monotonic() - killed)
    if verdict.kills % _SHOW_EVERY == 0:
        show(f"{verdict.kills} workers killed, {work.requests} requests")


def _is_counted(admin: Admin, counter: str, before: dict[str, Any]) -> bool:
    return bool(admin.stats()["watchdog"][counter] > before["watchdog"][counter])


def _look_at_the_rest(admin: Admin, verdict: Verdict, before: dict[str, Any]) -> None:
    """What the server says of itself when the clients have gone: chunks, locks, deaths."""
    deaths = before["watchdog"]["died"] + verdict.kills

    def is_at_rest() -> bool:
        stats = admin.stats()
        chunks = stats.get("chunks", {"free": 0, "total": 0})
        return chunks["free"] == chunks["total"] and not stats.get("ring_locks_held", 0)

    with contextlib.suppress(AssertionError):
        wait_for(is_at_rest, what="every chunk free, no lock held")
    stats = admin.stats()
    chunks, locks = stats.get("chunks"), stats.get("ring_locks_held", 0)
    if chunks and chunks["free"] != chunks["total"]:
        verdict.wrong.append(f"chunks are not free: {chunks}")
    if locks:
        verdict.wrong.append(f"{locks} ring locks are held")
    if stats["watchdog"]["died"] > deaths:
        verdict.wrong.append(f"{stats['watchdog']['died'] - deaths} workers died that nobody had killed")
    verdict.server = {
        **stats["watchdog"],
        **{name: sum(worker[name] for worker in stats["workers"]) for name in ("duplicates", "conflicts")},
    }

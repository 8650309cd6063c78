"""A queue of jobs in a storm of kills: some clients of one tenant push jobs, others take them and say when they are done.

The list of those that are ready has a head and a tail. Who takes a job moves it to those that are active; what is done is
counted. Each of these changes several objects, in one invoke.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from splinter.client import Client
from splinter.errors import TaskKilledError
from tests.support.kill_storm import PROCESSES, THREADS, Crew
from tests.support.storm_member import Member, Tally

PRODUCERS = PROCESSES * THREADS // 2  # every second client
_ENDS, _READY, _JOBS, _ACTIVE = 1, 2, 3, 4  # tables
_HEAD, _TAIL, _DONE = 0, 1, 2  # keys of the first
_ID_BITS = 32

EXTENSIONS = f"""
from splinter.ext import Store, extension, u64

def number(db: Store, key: u64) -> u64:
    found = db.get({_ENDS}, key)
    result = u64(0)
    if found is not None:
        result = found.u64(0)
    return result

@extension
def push(db: Store, job: u64, payload: bytes) -> u64:
    tail = number(db, {_TAIL})
    db.put({_READY}, tail, job)
    db.put({_JOBS}, job, payload)
    db.put({_ENDS}, {_TAIL}, tail + 1)
    return tail + 1 - number(db, {_HEAD})

@extension
def take(db: Store, consumer: u64) -> u64:
    head = number(db, {_HEAD})
    if head == number(db, {_TAIL}):
        return 0
    job = db.get({_READY}, head).u64(0)
    db.delete({_READY}, head)
    db.put({_ENDS}, {_HEAD}, head + 1)
    db.put({_ACTIVE}, job, consumer)
    return job

@extension
def finish(db: Store, job: u64, consumer: u64) -> bool:
    active = db.get({_ACTIVE}, job)
    if active is None:
        return False
    if active.u64(0) != consumer:
        return False
    db.delete({_ACTIVE}, job)
    db.delete({_JOBS}, job)
    db.put({_ENDS}, {_DONE}, number(db, {_DONE}) + 1)
    return True
"""


@dataclass
class JobTally(Tally):
    """The jobs that were taken, beside what each tally has."""

    delivered: list[int] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Take another's in."""
        super().add(other)
        self.delivered += other.delivered

    def __str__(self) -> str:
        return f"{len(self.delivered)} jobs delivered"


def job_id(number: int, index: int) -> int:
    """Of a producer's job."""
    return number << _ID_BITS | index + 1


def payload(job: int) -> bytes:
    """What a job has to say."""
    return b"job %d" % job


class Producer(Member):
    """Pushes ``jobs`` jobs."""

    def __init__(self, client: Client, number: int, seed: int, *, jobs: int) -> None:
        super().__init__(client, number, seed)
        self.tally = JobTally()
        self._jobs, self._pushed = jobs, 0
        self.operations, self.finals = [self._push], []

    def has_done_all(self) -> bool:
        """Whether all are pushed."""
        return self._pushed == self._jobs

    def _push(self) -> None:
        job = job_id(self._number, self._pushed)
        try:
            self._client.invoke("push", job, payload(job))
        except TaskKilledError:  # nothing of it is done
            self.tally.killed += 1
            return
        self._pushed += 1
        self._wrote()


class Consumer(Member):
    """Takes jobs and finishes them, until ``jobs`` are done by all."""

    tally: JobTally

    def __init__(self, client: Client, number: int, seed: int, *, jobs: int) -> None:
        super().__init__(client, number, seed)
        self.tally = JobTally()
        self._jobs, self._job, self._are_done = jobs, 0, False
        self._last: dict[int, int] = {}  # job of each producer
        self.operations, self.finals = [self._step], []

    def has_done_all(self) -> bool:
        """Whether all jobs are done."""
        return self._are_done

    def _step(self) -> None:
        try:
            if self._job:
                self._finish()
            else:
                self._take()
        except TaskKilledError:  # nothing of it is done
            self.tally.killed += 1

    def _take(self) -> None:
        self._job = job = self._client.invoke("take", self._number)
        self._wrote()
        if not job:
            self._are_done = self._client.get(_DONE, table=_ENDS) == struct.pack("<Q", self._jobs)
            return
        self.tally.delivered.append(job)
        producer = job >> _ID_BITS
        if job <= self._last.get(producer, 0):
            self.tally.wrong.append(f"client {self._number}: job {job} comes after {self._last[producer]}")
        self._last[producer] = job
        if self._client.get(job, table=_JOBS) != payload(job):
            self.tally.wrong.append(f"client {self._number}: job {job} has another payload")

    def _finish(self) -> None:
        if not self._client.invoke("finish", self._job, self._number):
            self.tally.wrong.append(f"client {self._number}: job {self._job} is not its own")
        self._job = 0
        self._wrote()


def _member(client: Client, number: int, seed: int, *, each: int) -> Member:
    if number % 2 == 0:
        return Producer(client, number, seed, jobs=each)
    return Consumer(client, number, seed, jobs=each * PRODUCERS)


def _check(client: Client, tally: Tally, *, each: int) -> list[str]:
    """Whether each job was delivered once, and nothing is left."""
    assert isinstance(tally, JobTally)
    times = Counter(tally.delivered)
    jobs = [job_id(number, index) for number in range(0, PROCESSES * THREADS, 2) for index in range(each)]
    wrong = [f"job {job} was delivered {times[job]} times" for job in jobs if times[job] != 1]
    wrong += [f"job {job} was never pushed" for job in times.keys() - set(jobs)]
    left = {"ready": (_READY, range(each * PRODUCERS)), "known": (_JOBS, jobs), "active": (_ACTIVE, jobs)}
    for name, (table, keys) in left.items():
        count = sum(value is not None for value in client.get_many(keys, table=table))
        wrong += [f"{count} jobs are {name} at the end"] if count else []
    return wrong


def crew(jobs: int) -> Crew:
    """For a number of jobs, which the producers share: a multiple of PRODUCERS."""
    each = jobs // PRODUCERS
    assert each * PRODUCERS == jobs
    return Crew(
        partial(_member, each=each), EXTENSIONS, share=PROCESSES * THREADS, is_moved=True, check=partial(_check, each=each)
    )

"""A writer at any instruction of the code that is used in production: it is killed there, or a reader comes.

A debugger's single steps (ptrace) take a forked writer to the instruction. Kill points say by name where a process dies; this
says that none was forgotten.
"""

from __future__ import annotations

import ctypes
import os
import signal

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import load64, store64_release
from splinter.store.commit_layout import WRITE_DELETES
from splinter.store.epochs import OLDEST_NONE, epoch_advance, epoch_enter
from splinter.store.hashing import identity_of, store_hash
from splinter.store.operations import store_delete, store_put
from splinter.store.reclaim import reclaim
from splinter.store.region import Region
from splinter.store.snapshots import snapshot_of
from splinter.store.store import Store
from splinter.store.transactions import note_write, store_transact
from tests.support.transactions import Transaction

TENANT = 1
PTRACE_TRACEME, PTRACE_CONT, PTRACE_SINGLESTEP = 0, 7, 9
PLACES = 100
INSTRUCTIONS_MAX = 20_000
CHURN, CHURNED = 20, 6
KEYS = [b"key 1", b"key 2"]
VALUES = [b"first", b"second, as long as another class needs it to be" * 2, b"third"]
# What key 1 and key 2 hold after each of the writer's steps.
STATES = [(None, b"kept"), (VALUES[0], b"kept"), (VALUES[1], b"kept"), (VALUES[1], None), (VALUES[1], None), (None, VALUES[2])]


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@njit
def write(store: int, keys: int, values: int, lengths: int, scratch: int, done: int) -> None:
    """The writer: stop; insert, replace, delete, reclaim, delete and insert together, counting at ``done``; stop; then use
    memory that is free; stop."""
    libc.kill(libc.getpid(), signal.SIGSTOP)
    store_put(store, 0, TENANT, 0, load64(keys), 5, load64(values), load64(lengths), 0)
    store64_release(done, 1)
    store_put(store, 0, TENANT, 0, load64(keys), 5, load64(values + 8), load64(lengths + 8), 0)
    store64_release(done, 2)
    store_delete(store, 0, TENANT, 0, load64(keys + 8), 5, 0)
    store64_release(done, 3)
    epoch_enter(store, 0, OLDEST_NONE)
    reclaim(store, 0, 8)
    store64_release(done, 4)
    identity = identity_of(TENANT, 0, 5)
    end = note_write(scratch, store_hash(store, identity, load64(keys), 5), identity, load64(keys), 0, WRITE_DELETES)
    hashed = store_hash(store, identity, load64(keys + 8), 5)
    end = note_write(end, hashed, identity, load64(keys + 8), load64(values + 16), load64(lengths + 16))
    store_transact(store, 0, TENANT, snapshot_of(store, TENANT), scratch, scratch, scratch, end, 0)
    store64_release(done, 5)
    libc.kill(libc.getpid(), signal.SIGSTOP)
    for _ in range(CHURN):  # what is free by now is written over
        epoch_enter(store, 0, OLDEST_NONE)
        reclaim(store, 0, 8)
        for i in range(3):
            store_put(store, 0, TENANT, 1, load64(keys), 5, load64(values + 8 * i), load64(lengths + 8 * i), 0)
    store64_release(done, CHURNED)
    libc.kill(libc.getpid(), signal.SIGSTOP)


class Writer:
    """A store, and a forked writer stopped before its first step."""

    def __init__(self) -> None:
        self.store = Store.create(limits.STORE_BYTES_MIN, participants=1)
        self.store.open_tenant(TENANT)
        self.store.put(TENANT, 0, KEYS[1], b"kept", participant=0)
        self.store.put(TENANT, 0, b"limbo", b"", participant=0)
        self.store.delete(TENANT, 0, b"limbo", participant=0)
        self.done = Region.create("done", 8).array(np.dtype("<i8"))
        self.pid = os.fork()
        if self.pid == 0:
            _ptrace(PTRACE_TRACEME, 0, None, None)
            try:
                write(self.store.address, *ARGUMENTS, self.done.ctypes.data)
            finally:
                os._exit(0)
        self.wait()

    def wait(self) -> int:
        """Wait until the writer stops; returns the signal that stopped it."""
        status = os.waitpid(self.pid, 0)[1]
        assert os.WIFSTOPPED(status), status
        return os.WSTOPSIG(status)

    def step(self, instructions: int) -> int:
        """Let it execute so many instructions, or fewer if it comes to its end; returns how many."""
        for number in range(instructions):
            if _ptrace(PTRACE_SINGLESTEP, self.pid, None, None) != 0:
                raise OSError(ctypes.get_errno(), "PTRACE_SINGLESTEP")
            if self.wait() == signal.SIGSTOP:
                return number
        return instructions

    def go_on(self) -> None:
        """Let it run until it stops by itself."""
        if _ptrace(PTRACE_CONT, self.pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "PTRACE_CONT")
        assert self.wait() == signal.SIGSTOP

    def kill(self) -> None:
        """Kill it here, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


_ARRAYS = [
    np.array([address_of(data) for data in KEYS]),
    np.array([address_of(data) for data in VALUES]),
    np.array([len(data) for data in VALUES]),
    np.zeros(64, dtype=np.int64),  # for what is written together
]
ARGUMENTS = [array.ctypes.data for array in _ARRAYS]


def instructions() -> int:
    """How many the writer's steps have; skips where they cannot be counted."""
    write.compile("void(int64, int64, int64, int64, int64, int64)")
    writer = Writer()
    try:
        total = writer.step(INSTRUCTIONS_MAX)
    except OSError as error:
        writer.kill()
        # Containers may forbid ptrace, which nothing else needs; the numbered kill points (kill_every_point.py) need none.
        pytest.skip(f"optional: {error}")
    writer.kill()
    assert writer.done[0] == 5 and 1000 < total < INSTRUCTIONS_MAX
    return total


def places(total: int) -> list[int]:
    """Instructions all over the writer's steps, so that strides of loops and of instructions do not agree."""
    return [total * number // PLACES + number % 7 for number in range(PLACES)]


def test_a_writer_may_die_at_any_instruction():
    for instruction in places(instructions()):
        writer = Writer()
        writer.step(instruction)
        writer.kill()
        done = int(writer.done[0])
        held = tuple(writer.store.get(TENANT, 0, key) for key in KEYS)  # by a reader, who does not wait for the recovery
        assert held in STATES[done : done + 2], instruction
        writer.store.recover(0)
        assert writer.store.problems() == [], instruction
        held = tuple(writer.store.get(TENANT, 0, key) for key in KEYS)
        assert held in STATES[done : done + 2], instruction
        writer.store.put(TENANT, 0, KEYS[0], VALUES[2], participant=0)  # the successor
        assert writer.store.get(TENANT, 0, KEYS[0]) == VALUES[2]
        assert writer.store.problems() == [], instruction


def test_a_reader_may_come_at_any_instruction():
    """What it sees then, in a new epoch, it sees for as long as it stays, whatever the writer does and gives back meanwhile."""
    for instruction in places(instructions()):
        writer = Writer()
        writer.step(instruction)
        epoch_advance(writer.store.address)
        reader = Transaction(writer.store, TENANT, participant=limits.PARTICIPANT_CONTROL)
        seen = tuple(reader.get(key) for key in KEYS)
        done = int(writer.done[0])
        assert seen in STATES[done : done + 2], instruction
        while writer.done[0] != CHURNED:
            writer.go_on()
        assert tuple(reader.get(key) for key in KEYS) == seen, instruction
        reader.end()
        writer.kill()

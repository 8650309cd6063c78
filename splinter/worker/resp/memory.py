"""Sets up a worker's door before it is forked."""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.ext.abi import FRAME
from splinter.native.callbacks import address_of
from splinter.native.memory import SharedArena
from splinter.wire import LARGE_BYTES
from splinter.worker.resp.commands import build_commands
from splinter.worker.resp.door import DOOR_FUNCTIONS
from splinter.worker.resp.facts import build_facts
from splinter.worker.resp.layout import (
    AHEAD_MAX,
    ARGUMENT_BYTES,
    ARGUMENTS,
    CONNECTION_BYTES,
    DOOR,
    EVENT_BYTES,
    EVENTS,
    NAME_BYTES_MAX,
    OUTPUT_BYTES,
    PARSED_BYTES,
    RECEIVED_BYTES,
    VALUE_AREA_BYTES,
)
from splinter.worker.resp.lines import build_lines
from splinter.worker.resp.scripts import SCRIPTS, build_scripts
from splinter.worker.transaction import TRANSACTION_AREA_BYTES

_MOST = limits.RESP_CONNECTIONS_MAX
_PIECES = {
    "scratch_event": EVENT_BYTES,
    "scratch_peer": 24,
    "events": EVENT_BYTES * EVENTS,
    "ahead": RECEIVED_BYTES * AHEAD_MAX,
    "ahead_input": limits.RESP_RECEIVE_BYTES * AHEAD_MAX,
    "connections": CONNECTION_BYTES * _MOST,
    "free": 4 * _MOST,
    "tenant_connections": 4 * limits.TENANTS_MAX,
    "tenant_asks": 4 * limits.TENANTS_MAX,
    "tenant_bytes": 8 * limits.TENANTS_MAX,
    "input": limits.RESP_RECEIVE_BYTES,
    "output": OUTPUT_BYTES,
    "parsed": PARSED_BYTES * limits.RESP_COMMANDS_AHEAD,
    "arguments": ARGUMENT_BYTES * ARGUMENTS,
    "words": 2 * limits.RESP_INLINE_BYTES_MAX,
    "upper": 2 * NAME_BYTES_MAX,
    "frame_large": LARGE_BYTES,
    "value": VALUE_AREA_BYTES,
    "realtime": 16,
}
_QUEUES = ("again", "held", "strangers")


class Door:
    """One worker's door. ``address`` is where its DOOR stands."""

    def __init__(self, epoll: int, listener: int, control: int, told: dict[str, str], port: int) -> None:
        commands, about = build_commands()
        made = {
            "lines": build_lines(),
            "commands": commands,
            "about": about,
            "facts": build_facts(port, told),
            "scripts": build_scripts(),
        }
        sizes = [
            DOOR.itemsize,
            FRAME.itemsize,
            TRANSACTION_AREA_BYTES,
            *_PIECES.values(),
            *(array.nbytes for array in made.values()),
        ]
        sizes += [8 * _MOST for _ in _QUEUES]
        arena = SharedArena(sum(map(SharedArena.rounded, sizes)))
        self.block = arena.array(DOOR)
        self.address = self.block.ctypes.data
        for name, size in _PIECES.items():
            self.block[name] = arena.take(size)
        for name, array in made.items():
            piece = arena.array(np.dtype("u1"), array.nbytes)
            piece[:] = array.view("u1")
            self.block[name] = piece.ctypes.data
        self.commands = commands  # as they stand there
        for name in _QUEUES:
            self.block[name]["entries"] = arena.take(8 * _MOST)
        for name, function in DOOR_FUNCTIONS.items():
            self.block[name] = address_of(function)
        self.block["about_bytes"] = about.nbytes // 2
        self.block["out_end"] = self.block["output"] + OUTPUT_BYTES
        self.block["epoll"], self.block["listener"], self.block["control"] = epoll, listener, control
        self.block["scripts_count"] = len(SCRIPTS)
        frame = arena.array(FRAME.dtype)
        frame["transaction"] = arena.take(TRANSACTION_AREA_BYTES)
        self.block["frame"] = frame.ctypes.data

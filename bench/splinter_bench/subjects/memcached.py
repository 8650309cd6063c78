"""memcached as a rival: the distribution's, with one thread on the worker's core, over TCP and UDP.

memtier and mcperf are not packaged for Debian 12, memcaslap is (:mod:`.memcaslap`). Our own client, which
compares every reply, gets as much out of memcached over TCP, and more over UDP.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

import numpy as np

from splinter.net.netns import inside
from splinter_bench.generators.kernel import REQUEST, ReplyForm
from splinter_bench.generators.live import LiveLoad
from splinter_bench.generators.text_client import FRAME, Script
from splinter_bench.subjects.rival import SCRIPT_REQUESTS, Objects, RivalServer

PROGRAM = "memcached"
PORT = 11_211
_MEMORY_MEGABYTES = 1024
_CONNECTIONS_MAX = 1024
_STORED = b"STORED\r\n"
_USER = "nobody"  # memcached refuses to run as root
_WORD_DIGITS = 8  # of a key's number: as many as one word holds
_WORD_NUMBERS = 10**_WORD_DIGITS
_VALUE = b"VALU"  # what a reply with a value begins with


class MemcachedServer(RivalServer):
    """A memcached with one thread; raises :class:`SplinterError` when it is not installed."""

    def __init__(self, address: str, *, core: int, netns: str | None = None, port: int = PORT) -> None:
        options = ["-l", address, "-p", str(port), "-U", str(port), "-t", "1", "-m", str(_MEMORY_MEGABYTES)]
        options += ["-c", str(_CONNECTIONS_MAX)]
        if os.geteuid() == 0:
            options += ["-u", _USER]
        super().__init__(PROGRAM, "memcached", options, address, port, core=core, netns=netns)

    def connect_udp(self, netns: str | None) -> socket.socket:
        """A UDP socket whose peer is the server."""
        with inside(netns):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((self.address, self.port))
        return sock


def get_script(objects: Objects, name: str = "memcached get") -> Script:
    """Gets of objects by turns."""
    keys = [objects.key(number) for number in objects.chosen()]
    return Script(name, [b"get %s\r\n" % key for key in keys], [_value(objects, key) for key in keys])


def set_script(objects: Objects, name: str = "memcached set") -> Script:
    """Sets of objects by turns, to the value that they have."""
    requests = _sets(objects, objects.chosen())
    return Script(name, requests, [_STORED] * len(requests))


def live_get(objects: Objects, name: str) -> LiveLoad:
    """Gets over UDP for load from within the kernel, of the objects whose number fits the word that it writes."""
    head = FRAME.pack(0, 0, 1, 0)
    payload = head + b"get %s\r\n" % objects.key(0)
    schedule = np.zeros(SCRIPT_REQUESTS, REQUEST)
    digits = [b"%0*d" % (_WORD_DIGITS, number % _WORD_NUMBERS) for number in objects.chosen()]
    schedule["number"] = np.frombuffer(b"".join(digits), "<u8")
    reply = head + _value(objects, objects.key(0))
    form = ReplyForm(_VALUE, mark_at=len(head), reply_bytes=len(reply))
    return LiveLoad(name, payload, {"KEY_AT": len(payload) - len(b"\r\n") - _WORD_DIGITS}, schedule, form)


def _value(objects: Objects, key: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, objects.value_bytes, objects.value)


def preload(server: MemcachedServer, objects: Objects, netns: str | None) -> None:
    """Store every object; raises :class:`SplinterError` when memcached does not take one."""
    server.fill(netns, _sets(objects, range(objects.count)), _STORED)


def _sets(objects: Objects, numbers: Iterable[int]) -> list[bytes]:
    value = objects.value
    return [b"set %s 0 0 %d\r\n%s\r\n" % (objects.key(number), len(value), value) for number in numbers]

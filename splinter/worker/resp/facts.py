"""What INFO, CONFIG and HELLO tell, and how: texts made once, at the server's start, and numbers between them.

A *fact* is a text by its number. Those of INFO and CONFIG are names behind which compiled code writes a number, or which are
whole.
"""

from __future__ import annotations

import os
import time

import numpy as np
from numba import njit

import splinter
from splinter import limits
from splinter.native.atomics import copy_bytes, load32
from splinter.worker.resp.commands import bulk
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import put_bytes, put_digits

_ENTRY_BYTES = 8
REDIS_VERSION = "7.0.0"  # whose replies these commands have
HELLO, CLIENT_FIELDS, INFO, CONFIG_NAMES = 0, 3, 20, 30
_CLIENT_FIELDS = ("id=", " addr=", " fd=", " name=", " age=", " db=", " multi=", " user=", " resp=")
_INFO_FIELDS = (
    "uptime_in_seconds:",
    "\r\n\r\n# Clients\r\nconnected_clients:",
    "\r\n\r\n# Memory\r\nused_memory:",
    "\r\nmaxmemory:",
    "\r\n\r\n# Splinter\r\ntenant:",
    "\r\nobjects:",
    "\r\n\r\n# Replication\r\nrole:master\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n",
)


def settings(is_durable: bool, workers: int, port: int) -> dict[str, str]:
    """What CONFIG GET tells. The first is the tenant's quota, which is put in when it is asked for."""
    return {
        "maxmemory": "",
        "save": "",
        "appendonly": "yes" if is_durable else "no",
        "databases": str(limits.TABLES_MAX),
        "maxclients": str(workers * limits.RESP_CONNECTIONS_MAX),
        "timeout": "0",
        "port": str(port),
        "tcp-keepalive": str(limits.RESP_KEEPALIVE_SECONDS),
        "tcp-backlog": str(limits.RESP_BACKLOG),
        "proto-max-bulk-len": str(limits.RESP_COMMAND_BYTES_MAX),
        "client-query-buffer-limit": str(limits.RESP_COMMAND_BYTES_MAX),
    }


def build_facts(port: int, told: dict[str, str]) -> np.ndarray:
    """An array of bytes: a table of offsets and lengths by number, then the texts. ``told``: settings for CONFIG GET."""
    hello = [
        bulk("server") + bulk("redis") + bulk("version") + bulk(REDIS_VERSION) + bulk("proto"),
        bulk("id"),
        bulk("mode") + bulk("standalone") + bulk("role") + bulk("master") + bulk("modules"),
    ]
    head = (
        f"# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nsplinter_version:{splinter.__version__}\r\n"
        f"os:{os.uname().sysname} {os.uname().release}\r\narch_bits:64\r\n"
        f"process_id:{os.getpid()}\r\ntcp_port:{port}\r\nstarted_at:{int(time.time())}\r\n"
    )
    fields = [head + _INFO_FIELDS[0], *_INFO_FIELDS[1:]]
    pairs = [text for name, value in told.items() for text in (name.encode(), bulk(name) + bulk(value))]
    texts = {
        **dict(enumerate(hello, HELLO)),
        **dict(enumerate((field.encode() for field in _CLIENT_FIELDS), CLIENT_FIELDS)),
        **dict(enumerate((field.encode() for field in fields), INFO)),
        **dict(enumerate(pairs, CONFIG_NAMES)),
    }
    table = np.zeros((max(texts) + 2, 2), dtype="<u4")  # the last one is empty: the end of the settings
    blob = bytearray()
    for number, text in texts.items():
        table[number] = (table.nbytes + len(blob), len(text))
        blob += text
    return np.frombuffer(table.tobytes() + bytes(blob), dtype=np.uint8).copy()


@njit(cache=True, forceinline=True)
def fact_text(facts: int, number: int) -> tuple[int, int]:
    """Address and length of a fact; empty behind the last one."""
    entry = facts + number * _ENTRY_BYTES
    return facts + load32(entry), load32(entry + 4)


@njit(cache=True)
def write_fact(d: int, at: int, number: int, value: int) -> int:
    """Write a fact and a number behind it to ``at``; returns their end."""
    text, size = fact_text(Door(d).facts, number)
    copy_bytes(at, text, size)
    return put_digits(at + size, value)


@njit(cache=True)
def put_fact(d: int, number: int) -> None:
    """A fact as it is."""
    text, size = fact_text(Door(d).facts, number)
    put_bytes(d, text, size)

"""The scripts of common clients that are known by their SHA-1, and which extension of the library does the same.

Their texts are their authors' and not here. A client sends the same text, to the byte, for years; where it has changed, each
version has its digest. See ``docs/reference/redis.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from splinter.worker.resp.layout import SCRIPT


class Answers(IntEnum):
    """What the first of two results says."""

    ANSWER, NOTHING, DONE, NO_INTEGER, TOO_LARGE, NO_TIME = range(6)


@dataclass(frozen=True)
class KnownScript:
    """A script. ``extension``: of :mod:`splinter.ext.library.redis_scripts`; its parameters are the table, and then the keys
    and arguments. ``arguments``: how many keys and arguments it takes."""

    client: str
    what: str
    digest: str
    extension: str
    arguments: int


SCRIPTS = (
    KnownScript("redis-py", "Lock.release", "c3f8721cbb97f72bc19e972846bd7aaf91901658", "redis_release", 2),
    KnownScript("redis-py", "Lock.extend", "a4e8783852e6b949f9ef3a97212805108459a890", "redis_extend", 4),
    KnownScript("redis-py", "Lock.extend before 3.5", "4a484ac024e9b025224cd9f8e1d59dbf3c15d00d", "redis_extend_by", 3),
    KnownScript("redis-py", "Lock.reacquire", "1cac51482acf5858da00f6d685d68f886cd6b6b2", "redis_live_for", 3),
    KnownScript("django-redis", "incr", "f4a7da3e5d8ea3b46642af08427151cae0190400", "redis_add_to", 2),
    KnownScript("django-redis", "incr, ignoring absence", "4d15273b16b10c15e1d9202cbe93c959ab7d250b", "redis_add", 2),
    KnownScript("aiocache", "RedLock's end", "ae3671744a5dbb24ea37ef607b8b10ac7856d43e", "redis_release", 2),
    KnownScript("aiocache", "cas", "782e993d12091daacc7a3164ddf5c4624fe56042", "redis_swap", 3),
    KnownScript("aiocache", "cas with a time", "782e993d12091daacc7a3164ddf5c4624fe56042", "redis_swap_for", 5),
    KnownScript("redlock-py", "unlock", "4e92fdc63815b3a0a2dd1c1df3694de73607c88d", "redis_release", 2),
    KnownScript("pottery", "Redlock.release", "a4aada0b36710970eedaaaeec4a6b7d8c78c4f80", "redis_release", 2),
    KnownScript("pottery", "Redlock.extend", "ba015a80261b616e7a62d35df0b8e3edbe6c9414", "redis_live_for", 3),
    KnownScript("pottery", "Redlock.locked", "f5f7bd3a3aa4a63c507c1155c5ea1219b350d992", "redis_left", 2),
    KnownScript("pottery", "NextID", "556429c2d8baca516a475ebb22d380cbccae7313", "redis_raise", 2),
    KnownScript("limits", "incr", "628bd136a573a06b346879695681af12ccef300f", "redis_count", 3),
    KnownScript("limits", "incr before 2", "0d23cf1ccf81ad1452ccf307e1938d99997a6073", "redis_count_one", 2),
    KnownScript("rq", "the scheduler's end", "d44df6e1a0e76df1009084a91af26cc23ac035a9", "redis_release", 2),
)


def build_scripts() -> np.ndarray:
    """The table for compiled code."""
    table = np.zeros(len(SCRIPTS), dtype=SCRIPT)
    for entry, script in zip(table, SCRIPTS, strict=True):
        name = script.extension.encode()
        entry["digest"] = np.frombuffer(bytes.fromhex(script.digest), dtype="u1")
        entry["name"][: len(name)] = np.frombuffer(name, dtype="u1")
        entry["name_length"], entry["arguments"] = len(name), script.arguments
    return table

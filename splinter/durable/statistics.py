"""How far the disk is, for ``splinter stats``: told by the control process, from shared memory and the folder's files."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splinter.durable.disk_state import DiskState, now_ns
from splinter.durable.groups import END, GROUP_BYTES, boot_digest, header_at, span
from splinter.durable.snapshots import snapshots_in
from splinter.store.layout import DURABILITY_NONE
from splinter.store.log import LogRings
from splinter.store.store import Store

_NS_PER_SECOND, _NS_PER_MS = 1e9, 1e6


def tenants_behind(
    store: Store, rings: LogRings, active: Sequence[int], modes: Sequence[str], most: int
) -> list[dict[str, Any]]:
    """Of tenants that are logged, those that are furthest ahead of the disk, at most so many. ``modes``: names by number.

    ``entries_behind``: commits that are in memory and not on the disk.
    """
    ids = np.asarray(active, np.int64)
    ids = ids[store.accounts["durability"][ids] != DURABILITY_NONE]
    behind = _behind(store, rings, ids)
    order = np.argsort(-behind, kind="stable")[:most]
    return [
        {
            "tenant": int(ids[place]),
            "mode": modes[int(store.accounts["durability"][ids[place]])],
            "entries_behind": int(behind[place]),
        }
        for place in order
    ]


def entries_behind(store: Store, rings: LogRings, active: Sequence[int]) -> int:
    """Commits of all tenants that are in memory and not on the disk, though they are to come there."""
    ids = np.asarray(active, np.int64)
    return int(_behind(store, rings, ids[store.accounts["durability"][ids] != DURABILITY_NONE]).sum())


def _behind(store: Store, rings: LogRings, ids: np.ndarray) -> np.ndarray:
    """By tenant. What was committed before a tenant was logged is no entry: so it is asked first whether any is behind."""
    behind: np.ndarray = np.zeros(len(ids), np.int64)
    durables = rings.durables()  # first, here and below: they only follow
    if durables != rings.tails() or rings.gaps != rings.gaps_covered:
        durable = np.maximum(store.accounts["durable"][ids].astype(np.int64), 1)  # numbers of commits begin behind 1
        behind = np.maximum(store.accounts["sequence"][ids].astype(np.int64) - durable, 0)
    return behind


def of_disk(log: Path, snapshots: Path, identity: int, rings: LogRings, state: DiskState) -> dict[str, Any]:
    """What is on the disk, and since when it is. Sizes are in bytes; what the disk does not tell is left at 0 or None."""
    durables = rings.durables()
    refused, synced = state.refused_age_ns, state.sync_age_ns
    return {
        "bytes_behind": sum(max(0, tail - durable) for tail, durable in zip(rings.tails(), durables, strict=True)),
        "sync_age_ms": None if synced is None else round(synced / _NS_PER_MS, 1),
        "log_bytes": _bytes_of(log, ".log"),
        "spare_bytes": _bytes_of(log, ".spare"),
        "snapshot_bytes": _bytes_of(snapshots, ".snap"),
        "snapshot": _last_snapshot(snapshots, identity),
        "refused_seconds": None if refused is None else round(refused / _NS_PER_SECOND, 1),
        "disk_failures": state.failures,
    }


def _bytes_of(folder: Path, suffix: str) -> int:
    found = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                with contextlib.suppress(OSError):  # it has another name by now
                    found += entry.stat().st_size
    return found


def _last_snapshot(folder: Path, identity: int) -> dict[str, Any] | None:
    """Age, size and duration of the newest one, from its own first and last groups; None: there is none that can be read."""
    with contextlib.suppress(OSError):
        whole = snapshots_in(folder)
        if whole:
            return _told(whole[-1], identity)
    return None


def _told(path: Path, identity: int) -> dict[str, Any] | None:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end_place = size - span(END.itemsize)
        if end_place < 0:
            return None
        headers = [
            header_at(np.frombuffer(os.pread(file.fileno(), GROUP_BYTES, place), np.uint8), 0, identity)
            for place in (0, end_place)
        ]
    first, last = headers
    if first is None or last is None:
        return None
    if last["boot"] == boot_digest():
        age = now_ns() - int(last["boot_ns"])
    else:  # only the clock that people set goes on over a boot
        age = time.time_ns() - int(last["unix_ns"])
    return {
        "age_seconds": round(max(0, age) / _NS_PER_SECOND, 1),
        "bytes": size,
        "seconds": round((int(last["boot_ns"]) - int(first["boot_ns"])) / _NS_PER_SECOND, 3),
    }

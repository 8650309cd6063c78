"""What must be the same for a server to go on with a store that another one left: the record of it, and how it is compared.

The record is the one element of the map ``layout``, pinned beside the store. It is written last of all when a store is made,
and first when one is removed: while it does not say COMPLETE, what is pinned is the remains of a start or of a removal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import ModuleType

import numpy as np

import splinter
from splinter import limits
from splinter.ext import abi
from splinter.native import addresses
from splinter.net import tenants, tier
from splinter.net.bpf.maps import MapForm
from splinter.server.config import ServerConfig
from splinter.server.pinned import COMPLETE, LAYOUT
from splinter.store import account_layout, commit_layout, layout, roster_layout

LAYOUT_VERSION = 5
"""Of what types do not tell: how the hash is computed, what a step of the journal means. Counted on with such a change."""

_MAGIC = b"splstore"
_MODULES = (layout, account_layout, commit_layout, roster_layout, tenants, tier, abi, addresses)
_LIMITS = (
    "TENANTS_MAX", "PARTICIPANTS_MAX", "PARTICIPANT_CONTROL", "SLAB_BYTES", "BUCKET_BYTES", "BUCKET_ENTRIES", "KEY_BYTES_MAX",
    "VALUE_BYTES_MAX", "CHAIN_BUCKETS_MAX", "DELETIONS", "COMMIT_OBJECTS_MAX", "TABLE_EXTENSIONS", "TABLE_CLIENTS",
    "TABLE_PARTS", "TABLE_ROSTER", "CODE_REGION_BYTES", "FRAME_BYTES", "CLIENT_WINDOW",
)  # fmt: skip


def digest(forms: Mapping[str, MapForm]) -> bytes:
    """Of every structure that lies in a store or that code in it relies on, of the limits that decide on places, and of the
    ``forms`` of all maps, by name, of a store of some size that is always the same."""
    parts = [f"version {LAYOUT_VERSION}", *(f"{name}: {form}" for name, form in sorted(forms.items()))]
    parts += [f"{name} = {getattr(limits, name)}" for name in _LIMITS]
    parts += [f"{module.__name__}.{line}" for module in _MODULES for line in _constants(module)]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _constants(module: ModuleType) -> list[str]:
    lines = []
    for name, value in sorted(vars(module).items()):
        if isinstance(value, np.dtype):
            lines.append(f"{name}: {value.descr} {value.itemsize}")
        elif isinstance(value, int | list) and not name.startswith("__"):
            lines.append(f"{name} = {value}")
    return lines


def record_of(config: ServerConfig, forms: Mapping[str, MapForm], *, is_complete: bool) -> bytes:
    """The record of a store for this configuration; ``forms`` as :func:`digest` has them."""
    record = np.zeros(1, LAYOUT)
    record["magic"] = _MAGIC
    record["complete"] = COMPLETE if is_complete else 0
    record["cores"] = len(config.cores)
    record["memory_bytes"] = config.memory_bytes
    record["digest"] = np.frombuffer(digest(forms), "V32")
    record["version"] = splinter.__version__.encode()
    record["has_log"] = config.data is not None
    return record.tobytes()


def objection_to(found: bytes, config: ServerConfig, forms: Mapping[str, MapForm]) -> str:
    """Why a server of this configuration cannot go on with the store of a complete record; empty when it can. ``forms`` as
    :func:`digest` has them."""
    record = np.frombuffer(found, LAYOUT)[0]
    version = record["version"].decode(errors="replace")
    if record["magic"] != _MAGIC or bytes(record["digest"]) != digest(forms):
        return f"it is Splinter {version}'s, which lays memory out in another way than {splinter.__version__}"
    if record["memory_bytes"] != config.memory_bytes:
        return f"it has {_size(int(record['memory_bytes']))} of memory, not {_size(config.memory_bytes)}"
    if bool(record["has_log"]) != (config.data is not None):
        return "its changes go to a data folder: name it with --data" if record["has_log"] else "it has no data folder (--data)"
    if record["cores"] != len(config.cores):
        return f"it was made for {int(record['cores'])} cores, not {len(config.cores)}"
    return ""


def _size(size: int) -> str:
    return f"{size >> 20}MiB" if size % (1 << 20) == 0 else f"{size} bytes"

"""Dumps that tests make up: lines, and the last one that fits them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

HEADER: dict[str, Any] = {"type": "splinter-dump", "version": 1, "of": 7, "at_unix_ms": 0, "server": "1"}
TENANT: dict[str, Any] = {
    "type": "tenant", "tenant": 7, "quota_bytes": None, "task_yields_max": 0, "task_milliseconds_max": 0,
    "task_wall_milliseconds_max": 0, "packets_per_second": 0, "durability": "none", "eviction": "none",
}  # fmt: skip
OBJECT: dict[str, Any] = {"type": "object", "tenant": 7, "table": 0, "key": "key", "value": "value"}
EXTENSION: dict[str, Any] = {"type": "extension", "tenant": 7, "name": "name", "source": "source", "together": False}


def line(of: dict[str, Any] | bytes) -> bytes:
    """A line with its end."""
    return (of if isinstance(of, bytes) else json.dumps(of).encode()) + b"\n"


def sealed(*lines: dict[str, Any] | bytes, **end: Any) -> bytes:
    """A dump of these lines and an end that fits them, but for the fields that are given."""
    body = b"".join(map(line, lines))
    kinds = [one.get("type") for one in lines if isinstance(one, dict)]
    counts = {f"{kind}s": kinds.count(kind) for kind in ("tenant", "extension", "part", "object")}
    return body + line(
        {"type": "end", **counts, "incomplete": [], "sha256": hashlib.sha256(body).hexdigest(), **end}
    )  # fmt: skip


def resealed(pieces: list[bytes], old: bytes, new: bytes) -> bytes:
    """A dump in which something was replaced, with a checksum that fits again."""
    *lines, end = b"".join(pieces).replace(old, new).splitlines()
    body = b"".join(each + b"\n" for each in lines)
    return body + line({**json.loads(end), "sha256": hashlib.sha256(body).hexdigest()})

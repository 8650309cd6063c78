"""CPU time of a server's processes, as the scheduler counts it (``/proc/PID/task/*/schedstat``, ns)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from splinter.server.instance import InstanceInfo
from splinter_bench.process import children


def server_cpu_ns(info: InstanceInfo) -> dict[str, int]:
    """By name of the process: ``splinter-w0`` … are workers. Empty when they cannot be looked at."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        supervisor = Path(f"/proc/{info.pid}/comm").read_text().strip()
        for pid, name in ({info.pid: supervisor} | children(info.pid)).items():
            with contextlib.suppress(OSError):
                spent = sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat"))
                found[name] = found.get(name, 0) + spent
    return found


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What each process used in between; one that began in between has all its time counted."""
    return {name: spent - before.get(name, 0) for name, spent in after.items() if spent > before.get(name, 0)}

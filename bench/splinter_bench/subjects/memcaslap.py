"""memcaslap (memaslap), the load generator for memcached that distributions package (``libmemcached-tools``).

It stores objects of its own, with keys and values as long as ours, and gets them. It measures whole seconds only, tells the
mean latency and no percentiles, and compares no values here.
"""

from __future__ import annotations

import math
import re
import tempfile
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.subjects.rival import Objects, RivalServer, packaged

PROGRAM = "memcaslap"
_WINDOW = "1k"  # objects of each connection, its least; it stores them one after the other before it begins
_CONFIGURATION = "key\n{key} {key} 1\nvalue\n{value} {value} 1\ncmd\n0 0.0\n1 1.0\n"  # no sets, gets only
_GETS, _SECONDS = re.compile(r"^cmd_get: (\d+)$", re.MULTILINE), re.compile(r"^Run time: ([\d.]+)s", re.MULTILINE)


def benchmark(
    server: RivalServer, name: str, objects: Objects, netns: str | None, core: int, connections: int, seconds: float
) -> dict[str, Any]:
    """memcaslap's rate of gets over TCP, in ``seconds`` rounded up.

    Returns ``name``, ``connections``, ``per_second``, ``latency_ns`` (p50: None, since it does not tell) and the ``command``.
    Raises :class:`SplinterError` when it prints no result.
    """
    with tempfile.NamedTemporaryFile("w", prefix="splinter-memcaslap-") as file:
        file.write(_CONFIGURATION.format(key=objects.key_bytes, value=objects.value_bytes))
        file.flush()
        line = [PROGRAM, "-s", f"{server.address}:{server.port}", "-F", file.name, "-T", "1", "-c", str(connections)]
        line += ["-w", _WINDOW, "-t", f"{math.ceil(seconds)}s"]
        output = packaged(line, netns, core)
    gets, spent = _GETS.search(output), _SECONDS.search(output)
    if gets is None or spent is None or not float(spent[1]):
        raise SplinterError(f"{PROGRAM} printed no result: {output!r}")
    return {
        "name": f"{name}, {PROGRAM}",
        "connections": connections,
        "per_second": int(gets[1]) / float(spent[1]),
        "latency_ns": {"p50": None},
        "command": " ".join(line),
    }

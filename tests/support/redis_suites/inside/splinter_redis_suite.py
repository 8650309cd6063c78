"""A pytest plugin for a run of redis-py's tests, which are another package named ``tests``: hence this folder of its own.

Environment: ``REDIS_SUITE_TESTS``, a file with the ids to run, one a line, all without it; ``REDIS_SUITE_OUTCOMES``, a file
that gets a line of JSON for each test: id, outcome, the line that tells why; ``REDIS_SUITE_GATE``, a port to which the start of
each test is told.
"""

from __future__ import annotations

import json
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

_ORDER = ("passed", "skipped", "failed")  # a test is as bad as its worst part
_worst: dict[str, tuple[str, str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not to run."""
    if name := os.environ.get("REDIS_SUITE_TESTS"):
        wanted = set(Path(name).read_text(encoding="utf-8").split("\n"))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_runtest_logstart(nodeid: str) -> None:
    """Tell the gate. Nor is it wanted where memory was allocated, which their set-up has noted: it takes half of the time."""
    tracemalloc.stop()
    if port := os.environ.get("REDIS_SUITE_GATE"):
        text = b"### Starting test " + nodeid.encode()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as gate:
            gate.sendall(b"*3\r\n$5\r\nDEBUG\r\n$3\r\nLOG\r\n$%d\r\n%s\r\n" % (len(text), text))
            gate.recv(4096)  # whatever it says: the gate has read it


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst of set-up, call and teardown."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash is not None else str(report.longrepr or "")
    worst, _ = _worst.get(report.nodeid, ("passed", ""))
    if report.nodeid not in _worst or _ORDER.index(report.outcome) > _ORDER.index(worst):
        _worst[report.nodeid] = (report.outcome, said)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Write the outcome at once: a run may be ended."""
    outcome, said = _worst.pop(nodeid, ("skipped", ""))
    with Path(os.environ["REDIS_SUITE_OUTCOMES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([nodeid, outcome, said]) + "\n")

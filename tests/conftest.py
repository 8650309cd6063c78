"""What all tests share: capabilities, names that do not collide, and cleaning up after tests that crashed.

**Capabilities.** A test that needs more of the machine than Python says so by a marker: ``xdp``, ``redis``,
``memcached`` or ``prometheus``. It then skips with the reason where the machine lacks it.
``SPLINTER_REQUIRE_CAPABILITIES=1``, which CI sets, makes every skip a failure, so that nothing goes untested unnoticed; only
a skip whose reason begins with ``OPTIONAL`` stays one (a tool that is nice to have).

**Three processes** share the files when ``scripts/test`` runs everything (pytest-xdist): tests wait for much, so two would
leave CPUs idle. Tests that measure, or load servers for long, would disturb each other: those of ``MEASURING`` are all run by
the process that takes them first, at once, while the others have everything else. What is unique in a process is so among all:
names have its id, and ports are its own (``tests.support.servers``).

**Names.** ``unique_name`` gives a test a name for its namespaces, labs and instances that holds this process's id. At
the start of a session everything so named by a process that no longer lives is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import itertools
import os
import re
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

# Programs under test inherit it: a run that nohup started is as any other.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# So is output that nobody flushes: with this set, what never arrives at its reader would seem to.
os.environ.pop("PYTHONUNBUFFERED", None)

REQUIRE_SWITCH = "SPLINTER_REQUIRE_CAPABILITIES"
OPTIONAL = "optional: "
NETNS_FOLDER = Path("/run/netns")
MEASURING = ("tests/system/bench/", "tests/system/once/")
LONG = (  # files that take a minute or more: begun early, so that no process is left alone with one
    "tests/system/server/test_persistence.py",
    "tests/system/server/test_data.py",
    "tests/unit/store/test_crash.py",
    "tests/unit/server/control/test_kept.py",
)
_HUGE_PAGE_BYTES = 2 << 20
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_UNIQUE_NAME = re.compile(r"t(\d+)x\d+")


@functools.cache
def xdp_lacks() -> str | None:
    """Why XDP tests cannot run here, or None."""
    from splinter.net import xdp

    return xdp.probe()


@functools.cache
def redis_lacks() -> str | None:
    """Why comparisons with Redis cannot run here, or None."""
    return None if shutil.which("redis-server") else "redis-server is not installed"


@functools.cache
def memcached_lacks() -> str | None:
    """Why comparisons with memcached cannot run here, or None."""
    return None if shutil.which("memcached") else "memcached is not installed"


@functools.cache
def prometheus_lacks() -> str | None:
    """Why our rules cannot be loaded into Prometheus here, or None."""
    return None if shutil.which("prometheus") and shutil.which("promtool") else "prometheus is not installed"


@functools.cache
def own_clock_lacks() -> str | None:
    """Why no server can have a clock of its own here, or None: that of the whole machine cannot be set for a test."""
    is_there = os.geteuid() == 0 and Path("/proc/self/ns/time").exists()
    return None if is_there else "a clock of its own needs root, and a kernel with time namespaces"


CAPABILITIES: dict[str, Callable[[], str | None]] = {
    "xdp": xdp_lacks,
    "redis": redis_lacks,
    "memcached": memcached_lacks,
    "prometheus": prometheus_lacks,
    "own_clock": own_clock_lacks,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lacks in CAPABILITIES.items():
        if item.get_closest_marker(marker) and (reason := lacks()):
            pytest.skip(reason)  # for a developer's machine; where all capabilities are required it is made a failure below


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)  # of a whole file, as by importorskip
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple) and os.environ.get(REQUIRE_SWITCH) == "1":
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(OPTIONAL):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} may not skip under {REQUIRE_SWITCH}=1: {reason}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class MeasuringTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "measuring" if nodeid.startswith(MEASURING) else super()._split_scope(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            for scope in (*reversed(LONG), "measuring"):
                if scope in self.workqueue:
                    self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return MeasuringTogether(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()  # the tests stay: to look for garbage among them takes long, and in each fork copies them
    os.register_at_fork(after_in_child=gc.freeze)  # nor does a child among what its parent has made since
    _use_huge_pages()


def _use_huge_pages() -> None:
    """Have this process's memory in huge pages, where the kernel can: tests fork some ten thousand times, and what a fork
    costs is the number of pages."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, permitted, _, _, inode, *_ = line.split()
        begin, end = (int(each, 16) for each in where.split("-"))
        begin = -(-begin // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        size = (end - begin) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
        if permitted == "rw-p" and inode == "0" and size > 0:
            libc.madvise(begin, size, _MADV_HUGEPAGE)
            libc.madvise(begin, size, _MADV_COLLAPSE)


_numbers = itertools.count()


@pytest.fixture
def unique_name() -> Iterator[str]:
    """A short name that no other test, living or dead, uses. What is pinned under it, or one that begins with it, goes
    after the test."""
    name = f"t{os.getpid()}x{next(_numbers)}"
    yield name
    if os.geteuid() == 0:
        from tests.support.pins import purge_all

        purge_all(name)


def stray_names(folder: Path) -> list[str]:
    """Entries of a folder that a test of a dead process named."""
    if not folder.is_dir():
        return []
    found = []
    for entry in folder.iterdir():
        match = _UNIQUE_NAME.match(entry.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            found.append(entry.name)
    return sorted(found)


def pytest_sessionstart() -> None:
    # A shell has what it starts in the background ignore SIGINT, and what is ignored is ignored by servers that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from splinter.server import instance

    for name in stray_names(instance.run_root()):
        shutil.rmtree(instance.run_root() / name, ignore_errors=True)
    if os.geteuid() != 0:
        return
    from tests.support.pins import pinned, purge_all

    for name in pinned("t"):
        match = _UNIQUE_NAME.match(name)
        if match and not Path(f"/proc/{match[1]}").exists():
            purge_all(name)
    for name in stray_names(NETNS_FOLDER):
        import pyroute2

        with contextlib.suppress(OSError):
            pyroute2.netns.remove(name)

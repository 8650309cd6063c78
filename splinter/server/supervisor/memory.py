"""Whether the memory that a server is to have is there, and what else the system allows it.

A store's memory is promised to tenants. Where the machine, or the container that the server runs in, has less, the kernel would
kill a worker, or the supervisor, at the first write to a page that is missing. So a server that cannot have its memory does
not start, and one that starts has taken it.
"""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from splinter import limits
from splinter.errors import ServerError

ERRORS = (errno.ENOMEM, errno.ENOSPC, errno.EFBIG)  # what says that memory, or a limit of it, does not suffice
_KIB, _MIB = 1 << 10, 1 << 20
_NO_LIMIT = 1 << 60  # control groups of the first version write a number like this for "none"


@dataclass(frozen=True)
class Bound:
    """How much memory something leaves: ``bytes_free``, and words for what it is."""

    bytes_free: int
    what: str


@dataclass(frozen=True)
class _Names:
    """Files of a control group, and lines of its ``memory.stat``."""

    limits: tuple[str, ...]
    used: str
    cache: tuple[str, ...]


_NAMES_1 = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
_NAMES_2 = _Names(("memory.max", "memory.high"), "memory.current", ("active_file", "inactive_file"))


def require(store_bytes: int, workers: int, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
    """Raise :class:`ServerError` when a server with such a store cannot have its memory."""
    beside = limits.SERVER_BYTES_BESIDE_STORE + workers * limits.SERVER_BYTES_PER_WORKER
    bound = min(bounds(proc, cgroups), key=lambda one: one.bytes_free, default=None)
    if bound is None or store_bytes + beside <= bound.bytes_free:
        return
    possible = (bound.bytes_free - beside) // _MIB
    hint = (
        f"--memory {possible}MiB would do" if possible * _MIB >= limits.STORE_BYTES_MIN else "that is too little for any store"
    )
    raise ServerError(
        f"memory {_mib(store_bytes)}, and {_mib(beside)} for the server's processes, are more than {bound.what} leaves "
        f"({_mib(bound.bytes_free)}): {hint}"
    )


def too_little(store_bytes: int, error: OSError | None = None) -> str:
    """The sentence for what the system refused while a server with such a store started."""
    reason = error.strerror if error else "out of memory"
    return f"there is not enough memory for a store of {_mib(store_bytes)} ({reason}): make --memory smaller, or limits larger"


def raise_limits() -> None:
    """Take as much of what is limited for each process as this one may have: descriptors, memory that is kept from swapping."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(limits.OPEN_FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    for most in (resource.RLIM_INFINITY, hard):  # only root may go beyond the hard limit
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
            break


def bounds(proc: Path, cgroups: Path) -> list[Bound]:
    """All that bounds the memory of this process: the machine's, each control group's that it is in, its own limit."""
    found = [*_of_machine(proc), *_of_groups(proc, cgroups)]
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        found.append(Bound(max(0, soft - _used_address_space(proc)), "the limit of address space (ulimit -v)"))
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if soft != resource.RLIM_INFINITY:
        found.append(Bound(soft, "the limit of a file's size (ulimit -f), which holds for shared memory,"))
    return found


def _of_machine(proc: Path) -> Iterator[Bound]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
        kib = {fields[0]: int(fields[1]) for fields in lines if len(fields) > 1}
        yield Bound((kib["MemAvailable:"] + kib.get("SwapFree:", 0)) * _KIB, "this machine")


def _used_address_space(proc: Path) -> int:
    try:
        return int((proc / "self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _of_groups(proc: Path, cgroups: Path) -> Iterator[Bound]:
    """Of both versions. A container sees its own group at the root of what is mounted, whatever path it is told."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            root, names = cgroups, _NAMES_2
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", _NAMES_1
        else:
            continue
        for folder in _ways_up(root, path):
            yield from _of_group(folder, names)


def _ways_up(root: Path, path: str) -> Iterator[Path]:
    """A group's folder and all above it, down to where the groups are mounted."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # of another namespace: what is mounted is all there is to see
        parts = []
    for length in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:length])


def _of_group(folder: Path, names: _Names) -> Iterator[Bound]:
    for name in names.limits:
        with contextlib.suppress(OSError, ValueError):  # the root has no limit, "max" is none
            limit = int((folder / name).read_text())
            if limit >= _NO_LIMIT:
                continue
            used = int((folder / names.used).read_text())
            yield Bound(max(0, limit - used + _cache_bytes(folder, names.cache)), f"the control group's limit {folder / name}")


def _cache_bytes(folder: Path, names: tuple[str, ...]) -> int:
    """Of files, which the kernel gives up for what is needed more."""
    found = 0
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            found += int(value) if name in names else 0
    return found


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"

"""What bounds a server's memory is found wherever the kernel says it, and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splinter import limits
from splinter.errors import ServerError
from splinter.server.supervisor.memory import bounds, require
from splinter.store.region import Region

MIB = 1 << 20
BESIDE = limits.SERVER_BYTES_BESIDE_STORE + limits.SERVER_BYTES_PER_WORKER


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of a machine with 4 GiB available and nothing else."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    (proc / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable:    4194304 kB\nSwapFree: 0 kB\nHugePages_Total: 0\n")
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    return proc, groups


def second(groups: Path, path: str, limit: str, used: int, cached: int = 0, name: str = "memory.max") -> None:
    folder = groups / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 0\n")


def test_the_machine_bounds(machine: tuple[Path, Path]) -> None:
    require((4 << 30) - BESIDE, 1, *machine)
    with pytest.raises(ServerError, match=r"than this machine leaves.*--memory 3,?824MiB would do"):
        require((4 << 30) - BESIDE + 1, 1, *machine)


@pytest.mark.parametrize("path", ["a/b", "a", "."])
@pytest.mark.parametrize("name", ["memory.max", "memory.high"])
def test_each_group_on_the_way_up_bounds(machine: tuple[Path, Path], path: str, name: str) -> None:
    second(machine[1], "a/b", "max", 0)
    second(machine[1], path, str(512 * MIB), 100 * MIB, cached=40 * MIB, name=name)
    require(452 * MIB - BESIDE, 1, *machine)  # the cache gives way
    with pytest.raises(ServerError, match=f"control group's limit {(machine[1] / path / name).resolve()} leaves"):
        require(452 * MIB - BESIDE + 1, 1, *machine)


def test_groups_of_the_first_version_bound(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    (proc / "self" / "cgroup").write_text("7:cpu,cpuacct:/c\n4:memory:/docker/1\n0::/\n")
    folder = groups / "memory"  # a container sees its own group here, not under the path that it is told
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(str(512 * MIB))
    (folder / "memory.usage_in_bytes").write_text(str(12 * MIB))
    (folder / "memory.stat").write_text("total_inactive_file 0\n")
    require(500 * MIB - BESIDE, 1, proc, groups)
    with pytest.raises(ServerError, match=r"memory\.limit_in_bytes leaves"):
        require(500 * MIB - BESIDE + 1, 1, proc, groups)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712")  # none
    require(3 << 30, 1, proc, groups)


def test_too_little_for_any_store_is_told(machine: tuple[Path, Path]) -> None:
    second(machine[1], "a", str(100 * MIB), 0)
    with pytest.raises(ServerError, match="too little for any store"):
        require(64 * MIB, 1, *machine)


@pytest.mark.parametrize("text", ["", "0::/../../x\n", "garbage\n", "4:memory\n", "0::\n"])
def test_what_cannot_be_read_bounds_nothing(machine: tuple[Path, Path], text: str) -> None:
    (machine[0] / "self" / "cgroup").write_text(text)
    second(machine[1], "a", "what?", 0)
    (machine[0] / "meminfo").write_text("MemAvailable:\nnothing\n")
    require(60 << 30, 64, *machine)


def test_this_machine_has_bounds() -> None:
    assert any(bound.what == "this machine" for bound in bounds(Path("/proc"), Path("/sys/fs/cgroup")))


class _Seen(Region):
    """A region that notes how much memory its file had when it was mapped."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.bytes_taken = os.fstat(descriptor).st_blocks * 512
        super().__init__(descriptor, size)


def test_reserved_memory_is_there_before_it_is_touched() -> None:
    lazy, reserved = _Seen.create("lazy", MIB), _Seen.create("reserved", MIB, is_reserved=True)
    assert isinstance(lazy, _Seen)
    assert isinstance(reserved, _Seen)
    assert (lazy.bytes_taken, reserved.bytes_taken) == (0, MIB)

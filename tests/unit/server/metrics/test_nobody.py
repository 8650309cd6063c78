"""Who speaks to strangers has given up everything, whoever it was; where it could not, its server is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from splinter.errors import NotPermittedError
from splinter.server.metrics import nobody

EVERYTHING = "CapEff:\t000001ffffffffff\n"
PROGRAM = """
from pathlib import Path
from splinter.server.metrics.nobody import become_nobody
become_nobody()
print(Path("/proc/self/status").read_text())
"""


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folder of what the kernel tells of this process: root, of a machine that has a nobody."""
    for name, text in (("status", EVERYTHING), ("uid_map", "0 0 4294967295\n"), ("gid_map", "0 0 4294967295\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(nobody.os, "geteuid", lambda: 0)
    monkeypatch.setattr(nobody, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(nobody, "_MAPS", (tmp_path / "uid_map", tmp_path / "gid_map"))
    return tmp_path


def test_nothing_is_left_whoever_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1" and "0" not in status["Uid"].split()


def test_root_without_a_way_to_become_nobody_is_refused(as_root: Path) -> None:
    nobody.require_way_out()
    for missing in (("CAP_SETUID",), ("CAP_SETGID",), ("CAP_KILL",), ("CAP_KILL", "CAP_SETGID", "CAP_SETUID")):
        left = int(EVERYTHING.split()[1], 16) & ~sum(1 << nobody._NEEDED[name] for name in missing)
        (as_root / "status").write_text(f"CapEff:\t{left:016x}\n")
        with pytest.raises(NotPermittedError, match=f"without {', '.join(missing)}: permit it"):
            nobody.require_way_out()


def test_root_of_a_users_own_namespace_has_nobody_to_become(as_root: Path) -> None:
    (as_root / "status").write_text("CapEff:\t0000000000000000\n")
    (as_root / "uid_map").write_text("0 1000 1\n")
    nobody.require_way_out()

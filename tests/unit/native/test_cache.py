"""Compiled code is found again where nothing that it depends on has changed, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
from pathlib import Path
import splinter
from splinter.native.cache import sources_digest
for name in ("store/index.py", "worker/tasks.py", "native/clock.py"):
    print(sources_digest(Path(splinter.__file__).parent / name))
from splinter.native.clock import _ticks_during as function
import numpy as np
function(np.zeros(2, np.int64).ctypes.data, 1)
print(sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package."""
    shutil.copytree(ROOT / "splinter", tmp_path / "checkout" / "splinter", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "checkout"


def run(checkout: Path) -> list[str]:
    """Digests of three modules of a checkout, then hits and misses of one compiled function's cache."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(checkout.parent / "cache")}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True).stdout.split("\n")


def append(checkout: Path, name: str) -> None:
    with (checkout / "splinter" / name).open("a") as file:
        file.write("\n# changed\n")


def test_a_change_compiles_anew_what_depends_on_it_and_nothing_else(checkout: Path) -> None:
    index, tasks, clock, counts, _ = run(checkout)
    assert counts == "0 1"
    append(checkout, "bench/summary.py")
    append(checkout, "ext/check.py")
    append(checkout, "server/supervisor.py")
    assert run(checkout) == [index, tasks, clock, "1 0", ""]  # nothing of these is inlined anywhere
    append(checkout, "worker/fair.py")
    found = run(checkout)
    assert found[1] != tasks
    assert found == [index, found[1], clock, "1 0", ""]
    append(checkout, "native/atomics.py")  # everything stands on it
    changed = run(checkout)
    assert changed[3] == "0 1"
    assert not {index, found[1], clock} & set(changed)


def test_equal_checkouts_share_what_they_compile(checkout: Path) -> None:
    run(checkout)
    other = checkout.rename(checkout.parent / "elsewhere")
    assert run(other)[3] == "1 0"

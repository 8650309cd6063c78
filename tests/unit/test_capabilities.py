"""What ``tests/conftest.py`` promises of skips and of names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
# Source of tests that pytest runs in a folder of its own: their skips are what is tested.
TESTS = """
import pytest
def test_skips():
    pytest.skip("this machine has no such thing")
def test_skips_what_is_optional():
    pytest.skip("optional: ruby is not installed")
@pytest.mark.redis
def test_marked():
    pass
"""
# The same of a whole file.
NOT_COLLECTED = """
import pytest
pytest.importorskip("no_such_module")
"""


@pytest.fixture
def conftest() -> ModuleType:
    specification = importlib.util.spec_from_file_location("conftest_under_test", CONFTEST)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def summary(folder: Path, text: str = TESTS, **environment: str) -> str:
    """The last line of pytest run on a file's text under this conftest, with no redis-server on the path."""
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    xdp\n    redis\n")
    (folder / "test_it.py").write_text(text)
    inherited = {name: value for name, value in os.environ.items() if name != "SPLINTER_REQUIRE_CAPABILITIES"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", folder]
    done = subprocess.run(
        command, env={**inherited, **environment, "PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()[-1]


def test_a_missing_capability_skips(tmp_path: Path) -> None:
    assert summary(tmp_path).startswith("3 skipped")


def test_with_the_switch_a_skip_is_a_failure_but_for_optional_tools(tmp_path: Path) -> None:
    assert summary(tmp_path, SPLINTER_REQUIRE_CAPABILITIES="1").startswith("1 failed, 1 skipped, 1 error")


def test_with_the_switch_a_file_that_is_skipped_is_a_failure(tmp_path: Path) -> None:
    assert summary(tmp_path, NOT_COLLECTED).startswith("1 skipped")
    assert summary(tmp_path, NOT_COLLECTED, SPLINTER_REQUIRE_CAPABILITIES="1").startswith("1 error")


def test_only_names_of_dead_processes_are_strays(conftest: ModuleType, tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    for name in (f"t{os.getpid()}x0", f"t{child.pid}x3-server", "default", "tx1"):
        (tmp_path / name).mkdir()
    assert conftest.stray_names(tmp_path) == [f"t{child.pid}x3-server"]
    assert conftest.stray_names(tmp_path / "missing") == []

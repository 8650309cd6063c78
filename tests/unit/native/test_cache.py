"""Compiled code is found again where nothing that it depends on has changed, and only there."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from splinter.native.cache import SavedCode

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
from pathlib import Path
import splinter
from splinter.native.cache import sources_digest
for name in ("store/index.py", "worker/tasks/slices.py", "native/clock.py"):
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
    return run_with_cache(checkout.parent / "cache", checkout=checkout)[0].split("\n")


def run_with_cache(
    cache: Path, program: str = PROGRAM, checkout: Path = ROOT, prepare: Callable[[], object] | None = None
) -> tuple[str, str]:
    """What the program says on standard output and error."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, preexec_fn=prepare)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def counts(told: tuple[str, str]) -> str:
    """Hits and misses; nothing else was said."""
    assert told[1] == ""
    return told[0].splitlines()[-1]


def append(checkout: Path, name: str) -> None:
    with (checkout / "splinter" / name).open("a") as file:
        file.write("\n# changed\n")


def test_a_change_compiles_anew_what_depends_on_it_and_nothing_else(checkout: Path) -> None:
    index, tasks, clock, found, _ = run(checkout)
    assert found == "0 1"
    append(checkout, "cli/stats.py")
    append(checkout, "ext/front/check.py")
    append(checkout, "server/supervisor/supervisor.py")
    assert run(checkout) == [index, tasks, clock, "1 0", ""]  # nothing of these is inlined anywhere
    append(checkout, "worker/tasks/fair.py")
    found = run(checkout)
    assert found[1] != tasks
    assert found == [index, found[1], clock, "1 0", ""]
    append(checkout, "native/atomics.py")  # everything stands on it
    changed = run(checkout)
    assert changed[3] == "0 1"
    assert not {index, found[1], clock} & set(changed)


@pytest.mark.parametrize("name", ["native/__init__.py", "native/cache.py", "native/compiling.py"])
def test_a_change_of_how_is_compiled_compiles_all_anew(checkout: Path, name: str) -> None:
    """What stands there may have told Numba to compile otherwise: code of before would be run under equal sources."""
    before = run(checkout)
    append(checkout, name)
    after = run(checkout)
    assert after[3] == "0 1"
    assert not set(before[:3]) & set(after[:3])


def test_code_of_other_options_of_the_compiler_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counts(run_with_cache(tmp_path)) == "0 1"
    monkeypatch.setenv("NUMBA_LOOP_VECTORIZE", "0")
    assert counts(run_with_cache(tmp_path)) == "0 1"
    assert counts(run_with_cache(tmp_path)) == "1 0"


def test_code_of_another_llvm_is_not_taken(tmp_path: Path) -> None:
    assert counts(run_with_cache(tmp_path)) == "0 1"
    program = f"import llvmlite; llvmlite.__version__ = '99.0.0'{PROGRAM}"
    assert counts(run_with_cache(tmp_path, program)) == "0 1"


def test_equal_checkouts_share_what_they_compile(checkout: Path) -> None:
    run(checkout)
    other = checkout.rename(checkout.parent / "elsewhere")
    assert run(other)[3] == "1 0"


# --- disks that are full, and what they leave -----------------------------------------------------------------------------


def fill_disk() -> None:
    """Files can be made, and not be written to."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_code_that_cannot_be_saved_is_used_and_the_folder_named(tmp_path: Path) -> None:
    said, complaints = run_with_cache(tmp_path, prepare=fill_disk)
    assert said.splitlines()[-1] == "0 1"
    (line,) = complaints.splitlines()  # once, for however many functions
    assert line.startswith(f"splinter: compiled code cannot be saved in {tmp_path}/splinter/compiled: File too large; ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert counts(run_with_cache(tmp_path)) == "0 1"
    assert counts(run_with_cache(tmp_path)) == "1 0"


def test_a_module_whose_folder_cannot_be_made_is_compiled(tmp_path: Path) -> None:
    run_with_cache(tmp_path)
    (folder,) = (tmp_path / "splinter" / "compiled").glob("native.clock-*")
    shutil.rmtree(folder)
    folder.touch()
    said, complaints = run_with_cache(tmp_path)
    assert said.splitlines()[-1] == "0 1"
    assert f"cannot be saved in {tmp_path}/splinter/compiled: Not a directory" in complaints


@pytest.mark.parametrize("place", ["", "splinter", "splinter/compiled"])
def test_another_folder_is_taken_where_a_file_is_in_the_way(tmp_path: Path, place: str) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    (cache / place).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    (cache / place).touch()
    elsewhere.mkdir()
    program = f"import tempfile; tempfile.tempdir = {str(elsewhere)!r}{PROGRAM}"
    assert counts(run_with_cache(cache, program)) == "0 1"
    assert counts(run_with_cache(cache, program)) == "1 0"


def test_without_any_folder_all_are_named(tmp_path: Path) -> None:
    """And none is read from, which may be another user's."""
    nowhere = tmp_path / "nowhere"
    nowhere.touch()
    program = f"import tempfile; tempfile.tempdir = {str(nowhere)!r}{PROGRAM}"
    said, complaints = run_with_cache(Path("/dev/null"), program)
    assert said.splitlines()[-1] == "0 1"
    assert f"cannot be saved in /dev/null/splinter or {nowhere}/splinter-cache-{os.geteuid()}: no folder" in complaints


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing is left": lambda data: b"",
    "half is left": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "the end is zeros": lambda data: data[: len(data) // 2] + bytes(len(data) // 2),
    "something else": lambda data: b"garbage" * 100,
    "another value": lambda data: pickle.dumps(pickle.loads(data)) + pickle.dumps(5),
}


SUFFIXES = pytest.mark.parametrize("suffix", ["nbi", "nbc"])


@SUFFIXES
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_not_there(tmp_path: Path, suffix: str, damage: str) -> None:
    saved = SavedCode(str(tmp_path), "function", "stamp")
    for _ in range(2):  # and can be saved again
        saved.save("a", ("code", b"x" * 1000))
        assert saved.load("a") == ("code", b"x" * 1000)
        for path in tmp_path.glob(f"*.{suffix}"):
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        if suffix == "nbi" or damage != "another value":  # what stands behind the code is not looked at
            assert saved.load("a") is None


@SUFFIXES
def test_damaged_code_is_compiled_anew(tmp_path: Path, suffix: str) -> None:
    run_with_cache(tmp_path)
    for path in tmp_path.rglob(f"*.{suffix}"):
        path.write_bytes(path.read_bytes()[:50])
    assert counts(run_with_cache(tmp_path)) == "0 1"
    assert counts(run_with_cache(tmp_path)) == "1 0"


def test_an_index_names_no_code_of_another_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after it was lost, and a full disk let the next be saved in part."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    saved = SavedCode(str(tmp_path), "function", "stamp")
    saved.save("a", 1)
    assert saved.load("a") == 1
    (tmp_path / "function.nbi").write_bytes(b"")
    assert saved.load("a") is None
    for part in ("_save_data", "_save_index"):
        with monkeypatch.context() as patched:
            patched.setattr(saved, part, fail)
            saved.save("b", 2)
        assert saved.load("b") is None
    saved.save("b", 2)
    assert (saved.load("a"), saved.load("b")) == (None, 2)

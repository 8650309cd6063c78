"""``scripts/check``: format, lint, types, and the unit tests of what changed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.imports import ROOT, distances, sources

_UNIT = "tests.unit."
_HOUSE = "tests/unit/test_house.py"  # looks at every source, and imports none
_TEST_SECONDS = 45  # after which no further test is begun
_PROCESSES = 2
_NOTHING_RUN = 5  # exit status of pytest
_CUT_SHORT = "session-timeout"  # what pytest says when its time is over
_EXCERPT_LINES = 40


def changed_files(base: str | None) -> list[Path]:
    """Sources that differ from a commit, those that are not yet known to git included. Raises SystemExit."""
    commit = base or _git("merge-base", "HEAD", "main").strip() or "HEAD"
    names = _git("diff", "--name-only", "--diff-filter=d", commit, "--") + _git("ls-files", "--others", "--exclude-standard")
    return [ROOT / name for name in names.splitlines() if name.endswith(".py")]


def nearest_tests(files: Iterable[Path]) -> list[str]:
    """The unit test files that import any of these, one through the other, the nearest first; without programs of tests."""
    names = {file: name for name, file in sources().items()}
    found = distances({names[file] for file in files if file in names})
    # Names break ties, so that equal changes run equal tests.
    tests = sorted((distance, name) for name, distance in found.items() if name.startswith(_UNIT))
    files_of_tests = [sources()[name] for _, name in tests]
    near = [str(file.relative_to(ROOT)) for file in files_of_tests if file.name.startswith("test_")]
    return [_HOUSE, *(name for name in near if name != _HOUSE)]


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        sys.exit("scripts/check: git is missing, which tells what changed: scripts/setup installs it as root")


def _tool(name: str, *arguments: str) -> tuple[str, subprocess.Popen[str]]:
    command = [str(Path(sys.executable).parent / name), *arguments]
    return " ".join([name, *arguments]), _start(command)


def _start(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "128"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _ends_well(title: str, process: subprocess.Popen[str]) -> bool:
    text, _ = process.communicate()
    lines = text.rstrip().splitlines()
    is_cut = _CUT_SHORT in text and " failed" not in lines[-1] and " error" not in lines[-1]
    good = process.returncode in (0, _NOTHING_RUN) or is_cut
    print(f"{'ok    ' if good else 'FAILED'} {title}: {lines[-1].strip('= ') if lines else 'nothing said'}", flush=True)
    if is_cut:
        print("       the time was over before all of them ran: scripts/test runs the rest")
    if not good:
        print("\n".join(lines[-_EXCERPT_LINES:]))
    return good


def main() -> int:
    """Run the checks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/check", description=__doc__)
    parser.add_argument("commit", nargs="?", help="compare with this; by default where the branch left main")
    parser.add_argument("--list", action="store_true", help="say which tests would run, and run nothing")
    options = parser.parse_args()
    began = time.monotonic()
    if options.commit and not _git("rev-parse", "--verify", "--quiet", f"{options.commit}^{{commit}}"):
        parser.error(f"there is no commit {options.commit}")
    tests = nearest_tests(changed_files(options.commit))
    if options.list:
        print("\n".join(tests))
        return 0
    good = [_ends_well(*_tool("ruff", "format", "--check", ".")), _ends_well(*_tool("ruff", "check", "."))]
    types = _tool("mypy")
    shares = [tests[number::_PROCESSES] for number in range(_PROCESSES)]
    pytest = [sys.executable, "-m", "pytest", "-q", "--no-header", f"--session-timeout={_TEST_SECONDS}"]
    runs = [(f"pytest, {len(share)} files", _start([*pytest, *share])) for share in shares if share]
    good += [_ends_well(*run) for run in (types, *runs)]
    print(
        f"{'all well' if all(good) else 'something is wrong'} after {time.monotonic() - began:.0f} s, {len(tests)} test files"
    )
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Every example, as its docstring says to run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_example_runs(file: Path) -> None:
    (arguments,) = re.findall(r"^    \.venv/bin/python (.*)$", file.read_text(), re.MULTILINE)
    done = subprocess.run([sys.executable, *arguments.split()], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and not done.stderr


def test_every_example_is_listed() -> None:
    listed = re.findall(r"^\| \[([\w.]+)/?\]", (ROOT / "examples/README.md").read_text(), re.MULTILINE)
    assert {file.name for file in FILES} | {"wordnet"} == set(listed)

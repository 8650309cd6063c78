"""Scripts that measure leave the figures of the documents alone, unless they are told to put new ones there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Stands for the interpreter: an experiment prints a document and draws where it is told, the page is marked.
PYTHON = """#!/bin/bash
case "$*" in
  *report.told*) echo "new figures" >>"$3" ;;
  *) [ -n "${FAILING:-}" ] && exit 1
     while [ $# -gt 0 ]; do [ "$1" = --picture ] && echo new >"$2"; shift; done
     echo '{}' ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("scripts", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"EXPERIMENTS_PYTHON": str(checkout / "python"), "PATH": "/usr/bin:/bin", **environment}
    command = [checkout / "scripts" / "experiments", *arguments]
    return subprocess.run(command, env=known, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [(), ("yields",), ("locality", "flood")])
def test_experiments_write_beside_the_documents(checkout: Path, arguments: tuple[str, ...]) -> None:
    before = contents(checkout / "docs")
    ran = run(checkout, *arguments)
    assert ran.returncode == 0, ran.stderr
    assert contents(checkout / "docs") == before
    assert "new figures" in (checkout / "build/experiments/page.md").read_text()
    names = {path.name for path in (checkout / "build/experiments").iterdir()}
    assert {"yields.json", "yields.svg"} <= names or "locality-0.99.json" in names


def test_experiments_write_over_the_documents_when_asked_to(checkout: Path) -> None:
    before = contents(checkout / "docs")
    ran = run(checkout, "--docs", "yields")
    assert ran.returncode == 0, ran.stderr
    after = contents(checkout / "docs")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"experiments.md", "experiments/yields.json", "pictures/yields.svg"}
    assert not (checkout / "build").exists()


def test_an_experiment_that_fails_leaves_what_was_there(checkout: Path) -> None:
    before = contents(checkout / "docs" / "experiments")
    assert run(checkout, "--docs", "yields", FAILING="1").returncode == 1
    assert contents(checkout / "docs" / "experiments") == before


def test_the_option_is_explained_and_others_are_refused(checkout: Path) -> None:
    helped = run(checkout, "--help")
    assert helped.returncode == 0
    assert "--docs" in helped.stdout
    for wrong in ("--doc", "yield", ""):
        refused = run(checkout, wrong)
        assert refused.returncode == 2, wrong
        assert "--help" in refused.stderr
    assert not (checkout / "build").exists()

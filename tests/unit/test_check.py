"""Which tests ``scripts/check`` chooses."""

from __future__ import annotations

import subprocess

from tests.support.check import nearest_tests
from tests.support.imports import ROOT, distances, imports


def test_the_tests_of_a_change_are_those_that_import_it_the_nearest_first() -> None:
    tests = nearest_tests([ROOT / "splinter" / "store" / "hashing.py"])
    assert tests[0] == "tests/unit/test_house.py"
    assert any(name.startswith("tests/unit/store/") for name in tests)
    of_a_command = nearest_tests([ROOT / "splinter" / "cli" / "stats.py"])
    assert not any(name.startswith("tests/unit/store/") for name in of_a_command)


def test_a_test_that_changed_is_its_own() -> None:
    assert "tests/unit/test_check.py" in nearest_tests([ROOT / "tests" / "unit" / "test_check.py"])
    assert nearest_tests([ROOT / "docs" / "operations.md"]) == ["tests/unit/test_house.py"]


def test_distances_count_imports_one_through_the_other() -> None:
    found = distances({"tests.support.imports"})
    assert found["tests.support.imports"] == 0
    assert found["tests.support.check"] == 1
    assert "splinter.store.store" not in found


def test_what_only_a_function_imports_does_not_count_at_import() -> None:
    assert "splinter.server.config" in imports("splinter.cli.serve")
    assert "splinter.server.config" not in imports("splinter.cli.serve", at_import=True)


def test_help_is_given_and_an_unknown_commit_refused() -> None:
    asked = subprocess.run([ROOT / "scripts" / "check", "--help"], capture_output=True, text=True, check=True)
    assert "scripts/check" in asked.stdout
    wrong = subprocess.run([ROOT / "scripts" / "check", "nonesuch"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "no commit nonesuch" in wrong.stderr

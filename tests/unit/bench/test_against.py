"""scripts/against measures another commit with the laboratory of that commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.against import figures

# Tells, as a figure's name, where the laboratory was found.
SPLINTER = """
import json
import splinter_bench
figure = {"name": "", "unit": "x", "median": 1.0, "parts": {}}
print(json.dumps({"goals": [{"name": splinter_bench.WHERE, "figure": figure}]}))
"""


@pytest.mark.parametrize("folder", ["bench", "."])
def test_another_commit_is_measured_by_its_own_laboratory(tmp_path: Path, folder: str):
    laboratory = tmp_path / folder / "splinter_bench"
    laboratory.mkdir(parents=True)
    (laboratory / "__init__.py").write_text("WHERE = 'of that commit'\n")
    (tmp_path / "splinter").mkdir()
    (tmp_path / "splinter" / "__init__.py").touch()
    (tmp_path / "splinter" / "__main__.py").write_text(SPLINTER)
    assert figures(tmp_path, ["resume"]) == {"of that commit, x": 1.0}

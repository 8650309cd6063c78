"""The reference tells of the files what the code writes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from splinter.durable.groups import GROUP
from splinter.store.commit_layout import LOGGED
from tests.support.imports import ROOT


@pytest.mark.parametrize("heading, layout", [("## Group", GROUP), ("## Log", LOGGED)])
def test_the_tables_of_bytes_are_those_of_the_code(heading: str, layout: np.dtype):
    text = (ROOT / "docs/reference/durable-files.md").read_text(encoding="utf-8")
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", section, re.MULTILINE)
    assert layout.fields is not None
    assert rows == [(str(at), str(kind.itemsize), name) for name, (kind, at) in layout.fields.items()]

"""Layouts of the wire are the same for the struct module, by which clients go, and for NumPy, by which servers do."""

from __future__ import annotations

import numpy as np
import pytest

from splinter import wire
from splinter.layout import Layout

LAYOUTS = {name: each for name, each in vars(wire).items() if isinstance(each, Layout)}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_numpy_and_struct_agree(layout: Layout) -> None:
    names, fields = list(layout.names), layout.dtype.fields
    assert fields is not None and list(fields) == names
    assert [layout.offset(name) for name in names] == [fields[name][1] for name in names]
    content = bytes(range(128, 128 + layout.itemsize))
    assert layout.struct.unpack(content) == np.frombuffer(content, layout.dtype)[0].item()

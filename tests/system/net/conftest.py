"""A lab, and programs and sockets in it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from splinter.net.lab import Lab

_numbers = itertools.count(100)  # apart from those of the fixture unique_name


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with two queues."""
    with Lab(f"t{os.getpid()}x{next(_numbers)}") as lab:
        yield lab

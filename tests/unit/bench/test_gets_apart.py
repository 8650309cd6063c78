"""A worker in a process of its own, without a part of a get."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from splinter_bench.experiments.worker_time import WITHOUT_LIFE
from splinter_bench.subjects.gets_apart import GetsApart, copied_sources

from splinter.errors import SplinterError

# An object that has expired at any time: its lengths say that it has a moment, which is 0.
_IS_OVER = """
import numpy as np
from splinter.layout import offset
from splinter.store.layout import EXPIRES_BIT, O_ACCESS, OBJECT
from splinter.store.objects import is_over, mark_used
slot = np.zeros(64, np.uint64)
slot.view(np.uint32)[offset(OBJECT, "lengths") // 4] = 1 << EXPIRES_BIT
mark_used(slot.ctypes.data)
print(is_over(slot.ctypes.data, 1), slot.view(np.uint8)[O_ACCESS])
"""


def _tell(environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-P", "-c", _IS_OVER]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_functions_of_a_copy_do_nothing() -> None:
    with copied_sources(WITHOUT_LIFE) as folder:
        assert _tell({**os.environ, "PYTHONPATH": str(folder)}) == ["False", "0"]
    assert not folder.exists()
    assert _tell(dict(os.environ)) == ["True", "1"]


def test_a_function_that_is_not_there_is_told() -> None:
    with pytest.raises(SplinterError, match="is_old"), copied_sources({"splinter/store/objects.py": ("is_old",)}):
        pass


def test_a_worker_apart_serves_gets_until_it_ends() -> None:
    with GetsApart(1000, expiring=True) as worker:
        assert worker.serve(1000) > 0
        worker.process.kill()
        with pytest.raises(SplinterError, match="has ended"):
            worker.serve(1000)
    assert worker.process.returncode is not None

"""SciPy, where it is installed, is loaded by who needs it, not by every process that runs compiled code."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from numba import njit
import splinter.native.clock
print("scipy.linalg" in sys.modules)
@njit
def square(matrix):
    return np.dot(matrix, matrix)
print(square(np.eye(2) * 3).tolist())
"""


def test_numba_loads_scipy_when_a_function_needs_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "[[9.0, 0.0], [0.0, 9.0]]"]

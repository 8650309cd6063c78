"""What is measured beside a start loads what a server does."""

from __future__ import annotations

import subprocess
import sys

from splinter_bench.subjects import loading


def test_all_of_a_server_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-m", loading.__name__], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr

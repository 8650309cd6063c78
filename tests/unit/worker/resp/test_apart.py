"""A server without the Redis protocol does without its code."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import splinter.server.supervisor.supervisor
import splinter.worker.udp.loop, splinter.worker.xdp.loop
found = sorted(name for name in sys.modules if name.startswith("splinter.worker.resp."))
assert found == ["splinter.worker.resp.layout", "splinter.worker.resp.records"], found
"""


def test_nothing_but_its_layout_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Every pair of a pause and a kill point, in a lab of its own: what ``scripts/pauses`` runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from splinter.net.lab import Lab
from splinter.net.netns import inside

PROGRAM = Path(__file__).resolve().parents[1] / "system/net/pause_every_point.py"


def command(every: int) -> list[str]:
    """What tries one pair in ``every``, in the network namespace of a lab's server, with kill points compiled in."""
    return ["env", "SPLINTER_KILL_POINTS=1", sys.executable, str(PROGRAM), str(every)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/pauses", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one pair in N")
    options = parser.parse_args()
    with Lab(f"pauses-{os.getpid()}") as lab, inside(lab.server.namespace):
        return subprocess.run(command(options.every), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

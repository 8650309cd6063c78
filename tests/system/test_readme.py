"""The examples of README and tour, run in the order in which they stand, as a reader would.

All ``bash`` and ``python`` blocks of a page make one session, in a network namespace of its own: they use default ports. A
``python`` block whose first line names a file is that file. Blocks of no language are not run: they need a network card, or
are what other tests do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS_MAX = 200

# The loopback interface of a new namespace is down.
PRELUDE = """\
set -euo pipefail
python3() { "$PYTHON" "$@"; }
python3 -c 'from pyroute2 import IPRoute; IPRoute().link("set", index=1, state="up")'
"""
# A reader waits until the server says that it is ready.
WAIT = """\
for _ in $(seq 1500); do splinter stats >/dev/null 2>&1 && break; kill -0 $!; sleep 0.1; done
"""
TOKEN = """\
from splinter.client.admin import Admin
from splinter.server import instance
with Admin("127.0.0.1", instance.credential()) as admin:
    TOKEN = admin.get_tenant(1, token=True).token
"""
EPILOGUE = "kill %1; wait %1 || true\n"


def session_script(page: Path, folder: Path) -> str:
    """One bash script of all blocks of a page; files that blocks stand for are written to ``folder``."""
    parts = [PRELUDE]
    for number, (language, text) in enumerate(BLOCK.findall(page.read_text())):
        if language == "bash":
            parts.append(re.sub(r"^(.* &)$", lambda match: f"{match[1]}\n{WAIT}", text, flags=re.MULTILINE))
        elif named := re.match(r"# (\w+\.py)\n", text):
            (folder / named[1]).write_text(text)
        else:
            (folder / f"example{number}.py").write_text((TOKEN if "TOKEN" in text else "") + text)
            parts.append(f'echo "example {number}"; python3 example{number}.py\n')
    return "".join([*parts, EPILOGUE])


def run_session(page: Path, tmp_path: Path) -> str:
    """Run a page's session; returns what it printed."""
    if os.geteuid() != 0:  # CI, which has root, takes this skip for a failure
        pytest.skip("root is needed for a network namespace of its own")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = tmp_path / "session.sh"
    script.write_text(session_script(page, tmp_path))
    environment = {**os.environ, "SPLINTER_RUN_DIR": str(tmp_path / "run"), "PYTHON": sys.executable}
    environment.pop("SPLINTER_INSTANCE", None)
    done = subprocess.run(
        ["unshare", "--net", "--kill-child", "--fork", "bash", str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readme_examples_run(tmp_path: Path) -> None:
    lines = run_session(ROOT / "README.md", tmp_path).splitlines()
    assert lines[lines.index("example 1") + 1 :] == ["1"]  # the first visit


def test_tour_examples_run(tmp_path: Path) -> None:
    printed = run_session(ROOT / "docs/start/tour.md", tmp_path)
    lines = printed.splitlines()
    assert "green" in printed  # what was put is what is got; a pipe gets the bare value, without a line's end
    assert lines.index("1") < lines.index("2")  # the two visits of the tour

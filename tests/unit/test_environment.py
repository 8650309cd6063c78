"""Every environment variable and every setting stands in the one table, and nothing stands there that nobody reads."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from splinter.server.config import ServerConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/configuration.md"
NAME = re.compile(r"(?<![A-Za-z0-9])_?SPLINTER_[A-Z_]*[A-Z]\b")
READ = re.compile(r"""(?:environ(?:\.get|\.pop)?[\[(]|envvar=|_VARIABLE = )["']([A-Z_]+)["']""")
READ_BY_SHELL = re.compile(r"\$\{([A-Z][A-Z0-9_]*):?[-=?+]")  # what may be unset comes from outside
# What a call of a library reads, and what is read by the beginning of its name.
READ_BY_CALLS = {"gettempdir(": "TMPDIR", "Path.home(": "HOME", "expanduser(": "HOME", "get_terminal_size(": "COLUMNS"}
READ_BY_BEGINNING = re.compile(r"""startswith\("([A-Z]+_)"\)""")
DEFINED_IN_C = ("bpf", "scripts/headers.py")  # constants of the programs in the kernel
MACROS = re.compile(r"SPLINTER_(?:OPCODE|FLAG)_")
OF_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # read under names of their own
OTHERS = {"PYTHONUNBUFFERED"}  # that tests take away


def tracked() -> list[Path]:
    """Files under version control, but for the pages and this one."""
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("optional: this is no checkout")
    others = ("docs/", "tests/unit/test_environment.py", "CHANGELOG.md", "README.md")
    return [ROOT / name for name in run.stdout.splitlines() if not name.startswith(others) and (ROOT / name).is_file()]


def told(section: str) -> set[str]:
    """First cells of a table of the page."""
    return set(re.findall(r"^\| `(\w+\*?)` \|", section, re.MULTILINE))


def test_every_variable_is_told_and_every_told_one_is_read() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8", errors="ignore") for path in tracked()}
    of_c = {name for path, text in texts.items() if path.startswith(DEFINED_IN_C) for name in NAME.findall(text)}
    named = {name for text in texts.values() for name in NAME.findall(text) if name not in of_c and not MACROS.match(name)}
    read = {name for path, text in texts.items() if path.endswith(".py") for name in READ.findall(text)} - OTHERS
    read |= {name for text in texts.values() if text.startswith("#!") for name in READ_BY_SHELL.findall(text)}
    own = [text for path, text in texts.items() if path.startswith("splinter/") and path.endswith(".py")]
    read |= {name for text in own for call, name in READ_BY_CALLS.items() if call in text}
    read |= {f"{name}*" for text in own if "environ" in text for name in READ_BY_BEGINNING.findall(text)}
    assert told(PAGE.read_text().partition("## Environment variables")[2]) == named | read | set(OF_MANAGER)
    notify = (ROOT / "splinter/server/supervisor/notify.py").read_text()
    assert all(f'"{name}"' in notify for name in OF_MANAGER)


def test_every_setting_is_told_and_every_told_one_is_a_setting() -> None:
    settings = {each.name for each in dataclasses.fields(ServerConfig)}
    assert told(PAGE.read_text().partition("## Environment variables")[0]) == settings
    assert set(re.findall(r"^# (\w+) = ", (ROOT / "contrib/splinter.toml").read_text(), re.MULTILINE)) == settings

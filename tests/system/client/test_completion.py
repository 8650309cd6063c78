"""Shells complete commands, options, and what a server has: bash is run, of others the script is looked at."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers import RunningServer, serving

SOURCE = "@extension\ndef {name}(db: Store) -> u64:\n    return 1\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """'splinter' as a shell finds it."""
    path = tmp_path / "bin/splinter"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m splinter "$@"\n')
    path.chmod(0o755)
    return path


Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(program: Path) -> Complete:
    """What bash offers at the end of a line."""
    if shutil.which("bash") is None:  # whose completion this is about; Debian always has it, and other systems need not
        pytest.skip("optional: there is no bash")

    def run(line: str) -> list[str]:
        words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
        script = (
            'eval "$(_SPLINTER_COMPLETE=source_bash splinter)"\n'
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))})\nCOMP_CWORD={len(words) - 1}\n"
            'handler=$(complete -p splinter | sed "s/.*-F \\([^ ]*\\) .*/\\1/")\n'
            '$handler splinter "${COMP_WORDS[COMP_CWORD]}" ""\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        where = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "--norc", "--noprofile", "-c", script], env=where, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.split()

    return run


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(f"t{os.getpid()}c", None, "--cores", "0") as started:
        admin = started.admin()
        for tenant in (7, 71, 8):
            admin.create_tenant(tenant)
        client = started.client(admin.get_tenant(7, token=True))
        for name in ("count", "counts", "other"):
            client.install(SOURCE.format(name=name))
        yield started


def test_bash_completes_commands_and_options(complete: Complete) -> None:
    assert complete("splinter ten") == ["tenant"]
    assert complete("splinter tenant ro") == ["rotate"]
    assert set(complete("splinter tenant rotate 7 --")) >= {"--finish", "--token", "--at-once"}


def test_bash_completes_what_a_server_has(complete: Complete, server: RunningServer) -> None:
    name = server.info.instance
    assert complete(f"splinter stats -i {name[:-1]}") == [name]
    assert complete(f"splinter extensions -i {name} --tenant 7") == ["7", "71"]
    assert complete(f"splinter invoke -i {name} -t 7 co") == ["count", "counts"]
    assert complete(f"splinter tenant rotate -i {name} ") == ["7", "71", "8"] or set(
        complete(f"splinter tenant rotate -i {name} ")
    ) == {"7", "71", "8"}


def test_bash_completes_nothing_where_there_is_no_server(complete: Complete) -> None:
    assert complete("splinter invoke -i nowhere -t 7 co") == []
    assert complete("splinter extensions -i nowhere --tenant 7") == []


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef splinter"), ("fish", "complete --command splinter")]
)
def test_each_shell_has_a_script(program: Path, shell: str, mark: str) -> None:
    run = subprocess.run(
        [program], env=os.environ | {"_SPLINTER_COMPLETE": f"source_{shell}"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and mark in run.stdout and not run.stderr

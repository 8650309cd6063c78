"""Where ``splinter check`` says that an extension would run: tried with the privilege, left to the server's kernel without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from splinter.cli import extensions as commands
from splinter.cli.main import app
from splinter.errors import ServerError
from splinter.net.xdp import Obstacle, extensions
from splinter.server import trial
from splinter.server.control import compiler as _compiler  # noqa: F401 - nobody may not read what is imported later
from tests.property.hostile.in_child import in_child
from tests.support.commands import CliRunner

NOBODY = 65534
READS = "@extension\ndef f(db: Store, x: u64) -> u64:\n    return 0 if db.get(1, x) is None else 1\n"
WRITES = "@extension\ndef f(db: Store, x: u64) -> u64:\n    db.put(1, x, x)\n    return x\n"
INSISTS = READS.replace("@extension", '@extension(place="kernel")')


def check(folder: Path, source: str) -> Result:
    file = folder / "f.py"
    file.write_text(source)
    return CliRunner().invoke(app, ["check", str(file)])


def descriptors() -> set[str]:
    """Of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes the program around extensions, which is loaded first, and none of theirs."""
    load, loads = extensions.load, []

    def refuse(*args: Any, **kwargs: Any) -> int:
        loads.append(args)
        if len(loads) > 1:
            raise ServerError("the kernel refused the program")
        return load(*args, **kwargs)

    monkeypatch.setattr(extensions, "load", refuse)


@pytest.mark.xdp
@pytest.mark.parametrize("source", [READS, INSISTS], ids=["may", "must"])
def test_with_the_privilege_it_is_tried_and_nothing_stays(tmp_path: Path, source: str) -> None:
    check(tmp_path, source)  # what is made once in a process
    before = descriptors()
    result = check(tmp_path, source)
    assert (result.exit_code, "runs in the kernel: the one of this machine takes it" in result.stdout) == (0, True)
    assert descriptors() == before


@pytest.mark.xdp
@pytest.mark.usefixtures("refusing")
def test_what_the_kernel_refuses_is_the_worker_s(tmp_path: Path) -> None:
    result = check(tmp_path, READS)
    assert (result.exit_code, "runs in the worker: the kernel's verifier cannot follow it" in result.stdout) == (0, True)


@pytest.mark.xdp
@pytest.mark.usefixtures("refusing")
def test_what_must_be_in_the_kernel_that_refuses_it_is_refused(tmp_path: Path) -> None:
    result = check(tmp_path, INSISTS)
    assert result.exit_code == 1
    assert "cannot run in the kernel: the kernel's verifier cannot follow it" in result.stderr


def test_what_the_compiler_has_no_code_of_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trial, "worker_reason")
    result = check(tmp_path, WRITES)
    assert (result.exit_code, "runs in the worker: line 3: it writes" in result.stdout) == (0, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="optional: only root can become nobody")
def test_without_the_privilege_the_server_s_kernel_decides() -> None:
    def as_nobody(_: Any) -> list[str]:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return [commands._placement(source, "f.py") for source in (READS, INSISTS)]

    for told in in_child(as_nobody):
        assert told.startswith("fits the kernel, which decides when it is installed; not tried here: XDP needs root")


def test_a_machine_without_a_tier_leaves_it_to_the_server_s_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "probe", lambda: Obstacle("XDP needs Linux"))
    result = check(tmp_path, READS)
    assert (result.exit_code, "decides when it is installed; not tried here: XDP needs Linux" in result.stdout) == (0, True)

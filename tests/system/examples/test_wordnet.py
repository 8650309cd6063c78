"""The demonstration as ``scripts/run`` starts it, with fewer tenants and questions."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from splinter_bench.workloads.wordnet import WORDNET_FOLDER, WORDNET_PACKAGE

from splinter.server import instance as instances
from splinter.testing.process import free_port

SECONDS_MAX = 240  # a first start compiles everything
NETNS_FOLDER = Path("/run/netns")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def wordnet_is_there() -> None:
    if not WORDNET_FOLDER.is_dir():  # scripts/setup installs it; CI takes this skip for a failure
        pytest.skip(f"the package {WORDNET_PACKAGE} is not installed")


def start(instance: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "examples.wordnet", "--instance", instance, "--tenants", "20", "--questions", "25"]
    return subprocess.Popen(
        [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def left_of(instance: str) -> list[str]:
    """Whatever a run left behind: namespaces, folders, processes."""
    namespaces = [path.name for path in NETNS_FOLDER.glob(f"{instance}*")] if NETNS_FOLDER.is_dir() else []
    folders = [str(path) for path in instances.run_root().glob(f"{instance}*")]
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if instance in path.read_text():
                processes.append(path.parent.name)
        except OSError:
            continue
    return namespaces + folders + processes


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the process printed up to ``text``; fails when it ends or time is up before."""
    assert process.stdout is not None
    output, deadline = "", time.monotonic() + SECONDS_MAX
    readable = select.poll()
    readable.register(process.stdout, select.POLLIN)
    while text not in output:
        assert readable.poll(max(0.0, deadline - time.monotonic()) * 1000), output
        piece = os.read(process.stdout.fileno(), 65536).decode()
        assert piece, output
        output += piece
    return output


def test_all_answers_are_equal_and_nothing_is_left(unique_name: str) -> None:
    process = start(unique_name, "--port", str(free_port()))
    try:
        output, _ = process.communicate(timeout=SECONDS_MAX)
    finally:
        process.kill()
    assert process.returncode == 0, output
    for question in ("path to root", "common ancestor"):
        assert re.search(rf"{question} by gets +equal +\d+ ", output), output
        assert re.search(rf"{question} by invoke +equal +25 ", output), output  # one round trip for each
    assert "Asked of the store: carnivore." in output
    assert left_of(unique_name) == []


def test_a_served_one_is_left_alone_by_others_and_taken_down_by_an_interrupt(unique_name: str) -> None:
    process = start(unique_name, "--serve", "--transport", "udp", "--port", str(free_port()))
    try:
        read_until(process, "Ctrl-C here stops the server")
        assert instances.read(unique_name).transport == "udp"
        other = start(unique_name)
        refusal, _ = other.communicate(timeout=SECONDS_MAX)
        assert other.returncode == 1
        assert f"error: instance '{unique_name}' runs already" in refusal
        assert instances.read(unique_name).transport == "udp"
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS_MAX)
    finally:
        process.kill()
    assert process.returncode != 0
    assert left_of(unique_name) == []

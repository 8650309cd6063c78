"""Numba's registries are loaded by who compiles, and for code that calls its runtime; not by every process that runs code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COUNT = """
import numba
from numba.core.cpu import CPUContext
loads, load = [], CPUContext.load_additional_registries
CPUContext.load_additional_registries = lambda self: (loads.append(1), load(self))
"""
SERVER = """
import splinter.server.supervisor.supervisor
from splinter.server.supervisor import warm
warm.at_start(("udp", "redis"))
print(bool(loads))
"""
# Code of every kind that calls what is there only with the registries: arrays that come, go and are made; lists.
PROGRAM = """
import sys
import numpy as np
from numba import njit
import splinter.native.clock
@njit("int64(int64)", cache=True)
def plain(n):
    return n + 1
print(plain(1), bool(loads))
@njit("int64[::1](int64[::1])", cache=True)
def double(values):
    return values * 2
print(double(np.arange(3)).tolist())
@njit("int64(int64)", cache=True)
def allocates(n):
    return [index for index in range(n)][n - 1] + np.ones(n).size
print(allocates(4))
print([len(each.stats.cache_hits) for each in (plain, double, allocates)])
"""


def run(source: str, **settings: str) -> list[str]:
    done = subprocess.run([sys.executable, source], capture_output=True, text=True, check=False, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_server_loads_its_code_without(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(COUNT + SERVER)
    run(str(program))  # it may compile
    assert run(str(program)) == ["False"]


def test_what_calls_the_runtime_has_it_when_it_is_loaded(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(COUNT + PROGRAM)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    answers = ["[0, 2, 4]", "7"]
    assert run(str(program), **cache) == ["2 True", *answers, "[0, 0, 0]"]
    assert run(str(program), **cache) == ["2 False", *answers, "[1, 1, 1]"]  # all of it was loaded


def test_all_that_the_registries_make_known_is_recognised() -> None:
    """Code that names a symbol which is not there yet would end the process."""
    program = """
import llvmlite.binding as binding
import numba
from numba.core.registry import cpu_target
from splinter.native.registries import SYMBOLS
context = cpu_target.target_context
names, add = [], binding.add_symbol
def note(name, address):
    names.append(name)
    add(name, address)
binding.add_symbol = note
context.refresh()
assert names
print([name for name in names if not name.encode().startswith(SYMBOLS)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

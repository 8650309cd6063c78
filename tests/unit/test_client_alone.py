"""A client alone: everything that it and the command line load does without the packages of the extra ``server``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from splinter.extras import SERVER_PACKAGES, advice, with_advice

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "bench/splinter_bench/workloads/sources/read_one.py"
# For another interpreter: the packages that it is asked for next cannot be found.
BLOCKED = f"""
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted({*SERVER_PACKAGES, "sklearn", "splinter_bench"})}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""
EVERY_MODULE = """
import pkgutil
from importlib import import_module

for package in ("splinter.client", "splinter.cli", "splinter.ext.front", "splinter.ext.python"):
    folder = import_module(package)
    for module in pkgutil.walk_packages(folder.__path__, f"{package}."):
        import_module(module.name)
        print(module.name)
import splinter
from splinter.client.admin import Admin
from splinter.ext import LocalStore, Store, extension, u64
assert splinter.Client and Admin

@extension
def twice(db: Store, number: u64) -> u64:
    return number * 2

print(LocalStore().invoke(twice, 21))
"""
LABORATORY = """
from splinter.cli.start import main

sys.argv = ["splinter", "bench", "goals"]
sys.exit(main())
"""
NEED_A_SERVERS_PACKAGES = (["serve", "--transport", "udp"], ["lab", "status"], ["check", str(EXAMPLE)])


def run(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(BLOCKED + program)
    command = [sys.executable, folder / "program.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )


def test_nothing_that_a_client_loads_needs_the_servers_packages(tmp_path: Path) -> None:
    result = run(EVERY_MODULE, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {"splinter.client.bulk", "splinter.cli.main", "splinter.ext.python.local"} < set(result.stdout.split())
    assert result.stdout.endswith("\n42\n")


@pytest.mark.parametrize("arguments", NEED_A_SERVERS_PACKAGES, ids=lambda each: each[0])
def test_commands_that_need_them_say_how_to_get_them(arguments: list[str], tmp_path: Path) -> None:
    program = "from splinter.cli.start import main; main()"
    result = run(program, *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert any(f"{package} is missing" in line for package in SERVER_PACKAGES)
    assert line.endswith(": pip install 'splinter-store[server]'")


@pytest.mark.parametrize("module", ["splinter.ext.compile", "splinter.net.lab"])
def test_so_do_modules(module: str, tmp_path: Path) -> None:
    result = run(f"import {module}", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(": pip install 'splinter-store[server]'")


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'rich'", name="rich"),
        ModuleNotFoundError("No module named 'numba.core'", name="numba.core"),
        ImportError("cannot import name 'njit'", name="numba"),
        ImportError("without a name"),
    ],
    ids=str,
)
def test_what_is_damaged_or_another_package_is_not_told_so(error: ImportError) -> None:
    assert advice(error) is None
    if isinstance(error, ModuleNotFoundError):
        assert str(with_advice(error)) == str(error)


def test_the_extra_has_the_packages_that_are_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {requirement.partition(">")[0].replace("-", "_") for requirement in requirements}

    assert names(project["optional-dependencies"]["server"]) == SERVER_PACKAGES
    assert names(project["dependencies"]) == {"greenlet", "msgpack", "rich", "typer"}


def test_a_missing_laboratory_is_told_in_one_sentence(tmp_path: Path) -> None:
    done = run(LABORATORY, folder=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the laboratory is not installed: pip install ./bench" in line

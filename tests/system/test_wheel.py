"""Wheel and sdist: what is in them, and that they serve and ask without a checkout.

The wheel is built from the sdist. Two environments get it, with packages from the index: a client's, and a server's. Compiled
code is shared by the sources' digest, so nothing is compiled for these servers that was compiled for the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from splinter.native.cache import sources_digest
from tests.support.servers import running_lab, start_server

ROOT = Path(__file__).resolve().parents[2]
TRAVELLING = {".py", ".c", ".h", ".md", ".typed"}
BESIDE = {"LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}  # in an sdist
TENANT = "7"
EXTENSION = """\
from splinter.ext import Store, extension, u64

@extension
def add(db: Store, key: u64, amount: u64) -> u64:
    found = db.get(0, key)
    before = 0
    if found is not None:
        before = found.u64(0)
    db.put(0, key, before + amount)
    return before + amount
"""
ASK = """\
import sys
from splinter import Client
with Client(sys.argv[1], 7, int(sys.argv[2], 16), port=int(sys.argv[3]), netns=sys.argv[4] or None) as db:
    db.put("k", b"of the library")
    print(db.get("k"), db.invoke("add", 1, 40))
"""


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout}{result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside of the checkout."""

    folder: Path

    def python(self, program: str, *arguments: str) -> str:
        return run(self.folder / "bin/python", "-I", "-c", program, *arguments, folder=self.folder)

    def splinter(self, *arguments: str | Path) -> str:
        return run(self.folder / "bin/splinter", *arguments, folder=self.folder)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def environment(folder: Path, requirement: str, *options: str) -> Environment:
    run(sys.executable, "-m", "venv", *options, folder, folder=folder)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-input", requirement, folder=folder)
    return Environment(folder)


@pytest.fixture(scope="module")
def client(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment(tmp_path_factory.mktemp("client"), str(distributions[0]))


@pytest.fixture(scope="module")
def server(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment(tmp_path_factory.mktemp("server"), f"{distributions[0]}[server]")


def sources(folder: str) -> Iterator[str]:
    """What of a folder of the checkout travels."""
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in TRAVELLING:
            yield str(path.relative_to(ROOT))


def test_wheel_and_sdist_contain_the_package_and_nothing_else(distributions: tuple[Path, Path]) -> None:
    wheel, sdist = distributions
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert {"splinter/py.typed", "splinter/bpf/splinter.c", "splinter/bpf/kernel.h"} < names
    assert names == {*sources("splinter"), *(f"splinter/{name}" for name in sources("bpf"))}
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names == {*sources("splinter"), *sources("bpf"), *BESIDE}


def test_a_client_has_neither_compiler_nor_netlink(client: Environment) -> None:
    found = client.python("from importlib.util import find_spec as f; print(*map(f, ('numba', 'llvmlite', 'pyroute2')))")
    assert found.split() == ["None"] * 3
    assert str(client.folder) in client.python("import splinter; print(splinter.__file__)")
    assert "serve" in client.splinter("--help")


def test_a_server_uses_what_was_compiled_for_the_checkout(server: Environment) -> None:
    program = """
from pathlib import Path
import splinter
from splinter.native.cache import sources_digest
print(sources_digest(Path(splinter.__file__).parent / "worker/udp/loop.py"))
"""
    assert server.python(program).split() == [sources_digest(ROOT / "splinter/worker/udp/loop.py")]


@pytest.mark.parametrize("transport", ["udp", pytest.param("xdp", marks=pytest.mark.xdp)])
def test_installed_server_and_client_work_together(
    transport: str, client: Environment, server: Environment, unique_name: str, tmp_path: Path
) -> None:
    (tmp_path / "add.py").write_text(EXTENSION)
    of_tenant = ("--tenant", TENANT, "--instance", unique_name)
    with ExitStack() as stack:
        lab = stack.enter_context(running_lab(unique_name)) if transport == "xdp" else None
        running = start_server(unique_name, lab, program=server.folder / "bin/splinter")
        try:
            assert running.info.transport == transport
            _, token = client.splinter("tenant", "create", *of_tenant).split()
            client.splinter("put", "k", "of the command line", *of_tenant)
            assert client.splinter("get", "k", *of_tenant) == "of the command line"
            assert "installed add(" in client.splinter("install", tmp_path / "add.py", *of_tenant)
            assert client.splinter("invoke", "add", "1", "2", *of_tenant) == "2\n"
            where = (running.info.address, token, str(running.info.port), running.info.client_netns or "")
            assert client.python(ASK, *where) == "b'of the library' 42\n"
        finally:
            status = running.stop()
        assert status == 0, running.log.read_text()
        running.log.unlink()

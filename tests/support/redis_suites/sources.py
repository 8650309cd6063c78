"""Where the suites come from: the registries' source packages, kept outside of the checkout."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

DOWNLOAD_SECONDS_MAX = 300
COMPATIBILITY = "compatibility-test-suite-for-redis"
COMPATIBILITY_FROM = f"tair-opensource/{COMPATIBILITY}"


class SourceError(Exception):
    """A suite that cannot be had; the text says why, and what to do."""


def cache() -> Path:
    """The folder where downloads stay."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "splinter" / "redis-suites"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def redis_py_version() -> str:
    """That of the client that the development environment has."""
    try:
        return metadata.version("redis")
    except metadata.PackageNotFoundError:
        raise SourceError("redis-py is not installed: .venv/bin/pip install redis") from None


@contextlib.contextmanager
def redis_py() -> Iterator[Path]:
    """The unpacked source distribution of redis-py, in a temporary folder for the block."""
    version = redis_py_version()
    archive = cache() / f"redis-{version}.tar.gz"
    if not archive.exists():
        words = ["download", "--quiet", "--no-binary", "redis", "--no-deps"]
        _run([sys.executable, "-m", "pip", *words, "--dest", str(cache()), f"redis=={version}"], "pip")
    with _unpacked(archive) as folder:
        yield folder


@contextlib.contextmanager
def redis_server() -> Iterator[Path]:
    """The unpacked upstream archive of the distribution's redis source package, in a temporary folder for the block."""
    if shutil.which("tclsh") is None:
        raise SourceError("tclsh is not installed: apt-get install tcl")
    version = server_version()
    archive = cache() / f"redis_{version}.orig.tar.gz"
    if not archive.exists():
        _download_source(archive)
    with _unpacked(archive) as folder:
        yield folder


def server_version() -> str:
    """That of the installed redis-server: its suites are those that it passes."""
    if shutil.which("redis-server") is None:
        raise SourceError("redis-server is not installed: apt-get install redis-server")
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+\.\d+\.\d+)", said)
    if found is None:
        raise SourceError(f"redis-server tells no version: {said.strip()}")
    return found.group(1)


def _download_source(archive: Path) -> None:
    """Ask apt, with lists of its own in which each repository offers its sources; the machine's lists stay as they are."""
    if shutil.which("apt-get") is None:
        raise SourceError(f"no apt-get: put the distribution's {archive.name} into {archive.parent}")
    with tempfile.TemporaryDirectory(prefix="splinter-redis-suites-") as name:
        folder = Path(name)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "parts").mkdir()
        for place in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
            if place.suffix in (".list", ".sources") and place.exists():
                text = place.read_text(encoding="utf-8")
                text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)
                text = re.sub(r"(?m)^deb\s", "deb-src ", text)
                (folder / "parts" / place.name).write_text(text, encoding="utf-8")
        options = [
            "-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={folder / 'parts'}",
            "-o", f"Dir::State::lists={folder / 'lists'}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
        ]  # fmt: skip
        with contextlib.suppress(SourceError):  # a repository without sources is no matter if another has them
            _run(["apt-get", *options, "update"], "apt-get update")
        _run(["apt-get", *options, "source", "--download-only", "--only-source", "redis"], "apt-get source", folder)
        found = folder / archive.name
        if not found.exists():
            have = ", ".join(path.name for path in folder.glob("*.orig.tar.*"))
            raise SourceError(f"the source package is of another version than redis-server: {have}, not {archive.name}")
        shutil.copyfile(found, archive.with_suffix(".part"))
        archive.with_suffix(".part").replace(archive)


def compatibility(where: Path | None) -> str:
    """The text of the compatibility suite's cases, of a clone (bare or not) of its repository."""
    folder = where or cache() / COMPATIBILITY
    if (folder / "cts.json").exists():
        return (folder / "cts.json").read_text(encoding="utf-8")
    done = subprocess.run(["git", "-C", str(folder), "show", "HEAD:cts.json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SourceError(
            f"no registry has the compatibility suite: clone {COMPATIBILITY_FROM} from GitHub to {folder}, "
            "or name a clone with --from"
        )
    return done.stdout


@contextlib.contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="splinter-redis-suites-", ignore_cleanup_errors=True) as name:
        _run(["tar", "--extract", "--no-same-owner", "--file", str(archive), "--directory", name], "tar")
        (folder,) = Path(name).iterdir()
        yield folder


def _run(words: list[str], what: str, folder: Path | None = None) -> None:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=DOWNLOAD_SECONDS_MAX
    )
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise SourceError(f"{what} ended with status {done.returncode}:\n{last}")

"""The record that all code was found: it holds as long as every file that it names is as it was, and no longer."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from splinter.server.supervisor import warm, warm_record
from splinter.server.supervisor.warm import Step
from splinter.server.supervisor.warm_record import WarmRecord


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files, and a folder for records."""
    monkeypatch.setattr(warm_record._config, "CACHE_DIR", str(tmp_path))
    found = [tmp_path / "a.nbi", tmp_path / "b.nbi"]
    for file in found:
        file.write_bytes(b"index")
    return found


def written(files: list[Path], name: str = "udp-1") -> WarmRecord:
    record = WarmRecord(name)
    record.write(map(str, files))
    return record


def test_it_holds_for_its_name_alone(files: list[Path]) -> None:
    assert not WarmRecord("udp-1").holds()
    assert written(files).holds()
    assert not WarmRecord("udp-2").holds()


CHANGES: list[Callable[[Path], object]] = [
    lambda file: file.unlink(),
    lambda file: file.write_bytes(b"another"),
    lambda file: os.utime(file, ns=(0, 0)),
    lambda file: file.chmod(0) or file.rename(file.with_name("c")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_it_does_not_hold_when_a_file_has_changed(files: list[Path], change: Callable[[Path], object]) -> None:
    record = written(files)
    change(files[1])
    assert not record.holds()


def test_a_copy_of_the_cache_has_it_as_far_as_it_has_the_files(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(files)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy)
    monkeypatch.setattr(warm_record._config, "CACHE_DIR", str(copy))
    assert WarmRecord("udp-1").holds()
    (copy / "a.nbi").unlink()
    assert not WarmRecord("udp-1").holds()


DAMAGE = [b"", b"\xff", msgpack.packb({}), msgpack.packb([1]), msgpack.packb({"/": 1}), msgpack.packb({3: 1}),
          msgpack.packb({"a\0b": [1, 2]}), msgpack.packb(7), b"\x81\xa1"]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGE)
def test_what_is_no_record_does_not_hold(files: list[Path], content: bytes) -> None:
    record = written(files)
    (path,) = files[0].parent.glob("*.warm")
    path.write_bytes(content)
    assert not record.holds()


def test_what_cannot_be_written_is_left(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert not written(files).holds()
    assert not written([*files, Path("\udc80")]).holds()
    assert sorted(files[0].parent.iterdir()) == files


def test_old_ones_are_removed(files: list[Path]) -> None:
    for number in range(warm_record._RECORDS_MAX + 3):
        record = written(files, f"udp-{number}")
    assert record.holds()
    assert len(list(files[0].parent.glob("*.warm"))) == warm_record._RECORDS_MAX


@pytest.mark.parametrize(("lacks", "is_whole", "looks"), [(0, True, 1), (3, True, 1), (3, False, 2)])
def test_a_start_looks_again_until_all_was_found(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, lacks: int, is_whole: bool, looks: int
) -> None:
    looked: list[Any] = []
    caches = [SimpleNamespace(_cache_file=SimpleNamespace(_index_path=str(file))) for file in files]
    code = [SimpleNamespace(function=SimpleNamespace(_cache=cache)) for cache in caches]
    steps = [Step(f"f{number}", lambda: True, frozenset()) for number in range(lacks)]
    monkeypatch.setattr(warm, "missing", lambda transports: looked.append(transports) or steps)
    monkeypatch.setattr(warm, "compile_ahead", lambda steps, tell: is_whole)
    monkeypatch.setattr(warm, "_all_code", lambda transports: iter(code))
    warm.at_start(["udp"])
    warm.at_start(["udp"])
    assert looked == [["udp"]] * looks
    files[0].unlink()
    warm.at_start(["udp"])
    assert looked == [["udp"]] * (looks + 1)


def test_a_record_names_the_index_of_each_function_that_a_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    monkeypatch.setattr(WarmRecord, "write", lambda self, files: named.extend(Path(file).name for file in files))
    warm.remember(["udp"])
    for function in ("loop.serve_udp", "objects._get.part", "helpers.helper_put", "operations.store_put"):
        assert [name for name in named if name.startswith(f"{function}-")], function


def test_another_transport_and_other_sources_have_another_record(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {warm._record_name("udp"), warm._record_name("xdp")}
    monkeypatch.setattr(warm, "modules_digest", lambda modules: "0")
    names.add(warm._record_name("udp"))
    assert len(names) == 3

"""Pins of a store: a start, a stop or a purge may die at each of its steps, and the next start works.

What a server does is done in a process of its own: its memory is mapped at fixed addresses.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splinter import limits
from splinter.errors import ServerError
from splinter.net.bpf import maps, pins
from splinter.net.bpf.pins import PinFolder, folder_of, instances
from splinter.server.config import ServerConfig
from splinter.server.pinned import discard, left_behind
from splinter.server.purge import purge
from splinter.server.supervisor import store_maps
from splinter.server.supervisor.store_maps import CodePages, StoreMaps, forms

pytestmark = pytest.mark.xdp
TENANT = 3
_FAILED, _NEW, _ATTACHED, _DIED = 1, 10, 11, 17  # exit statuses
_STEPS = ((pins.maps, "pin"), (Path, "unlink"), (maps, "update"), (Path, "mkdir"), (Path, "rmdir"))  # that others see


@pytest.fixture
def config(unique_name: str, monkeypatch: pytest.MonkeyPatch) -> ServerConfig:
    monkeypatch.setattr(store_maps, "_DYING_SECONDS_MAX", 0.2)
    return ServerConfig(instance=unique_name, device="lo", memory_bytes=limits.STORE_BYTES_MIN, cores=(0,))


def in_process(what: Callable[[], int | None], survived: int = -1) -> int:
    """What it returns, 0 for nothing, in a process that dies before the step after ``survived`` ones, or (-1) at none."""
    pid = os.fork()
    if pid == 0:
        left = [survived]

        def counted(original: Any) -> Any:
            def step(*arguments: Any, **named: Any) -> Any:
                if left[0] == 0:
                    os._exit(_DIED)
                left[0] -= 1
                return original(*arguments, **named)

            return step

        for holder, name in _STEPS:
            setattr(holder, name, counted(getattr(holder, name)))
        try:
            os._exit(what() or 0)
        except BaseException:
            traceback.print_exc()
        os._exit(_FAILED)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status not in (_FAILED, -11), "see the traceback of the process"
    return status


def serve(config: ServerConfig) -> int:
    """A start that comes through, a write, a crash."""
    kept = StoreMaps.open(config)
    store = kept.store()
    kept.pin()
    if kept.is_attached:
        assert store.get(TENANT, 0, b"key") in (None, b"value")
    else:
        store.open_tenant(TENANT)
        store.put(TENANT, 0, b"key", b"value")
    assert store.problems() == []
    return _ATTACHED if kept.is_attached else _NEW


def start(config: ServerConfig) -> None:
    """A start that is not over: nobody is served."""
    kept = StoreMaps.open(config)
    kept.store()
    kept.pin()


def remove(config: ServerConfig, how: str) -> None:
    """As that is done at a clean stop, by a purge, or by a fresh start."""
    folder = PinFolder.take(config.instance)
    discard(folder)
    if how != "fresh":
        folder.remove()


def test_a_start_may_die_at_each_step(config: ServerConfig) -> None:
    outcomes = []
    while in_process(lambda: start(config), len(outcomes)) == _DIED:
        outcomes.append(in_process(lambda: serve(config)))
        purge(config.instance)
        assert config.instance not in instances()
    assert len(outcomes) > len(forms(config.memory_bytes))
    assert set(outcomes) == {_NEW}
    assert in_process(lambda: serve(config)) == _ATTACHED


@pytest.mark.parametrize("how", ["stop", "fresh"])
def test_a_removal_may_die_at_each_step(config: ServerConfig, how: str) -> None:
    outcomes = []
    assert in_process(lambda: serve(config)) == _NEW
    while in_process(lambda: remove(config, how), len(outcomes)) == _DIED:
        outcomes.append(in_process(lambda: serve(config)))
    assert len(outcomes) > len(forms(config.memory_bytes))
    assert set(outcomes) == {_NEW, _ATTACHED}
    assert (config.instance in instances()) == (how == "fresh")


def test_a_purge_that_died_is_done_again(config: ServerConfig) -> None:
    survived = 0
    while True:
        assert in_process(lambda: serve(config)) == _NEW
        if in_process(lambda: purge(config.instance) and None, survived) != _DIED:
            break
        purge(config.instance)
        assert config.instance not in instances()
        survived += 1
    assert survived > len(forms(config.memory_bytes))


def test_whoever_has_the_pins_has_them_alone(config: ServerConfig, capfd: pytest.CaptureFixture[str]) -> None:
    assert in_process(lambda: serve(config)) == _NEW
    held = PinFolder.take(config.instance)  # and so do the children

    def other() -> None:
        held.close()  # this process's
        kept = StoreMaps.open(config)
        assert kept.pins is None and not kept.is_attached and not kept.is_fixed
        kept.pin()
        assert kept.store().problems() == []
        assert not kept.stays(ended_well=False)

    assert in_process(other) == 0
    assert f"processes of a server have {folder_of(config.instance)}" in capfd.readouterr().out
    with pytest.raises(ServerError, match="running"):
        purge(config.instance)
    held.close()
    assert in_process(lambda: serve(config)) == _ATTACHED


def test_a_child_that_lives_on_keeps_the_pins(config: ServerConfig) -> None:
    """Who would attach meanwhile would put right what a living worker is in the midst of."""
    held = PinFolder.take(config.instance)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    held.close()
    with pytest.raises(pins.PinsInUseError):
        PinFolder.take(config.instance)
    os.close(writer)
    os.waitpid(pid, 0)
    os.close(reader)
    PinFolder.take(config.instance).close()


def test_pins_that_cannot_be_made_are_done_without(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    original, left = maps.pin, [4]

    def pin(descriptor: int, path: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        original(descriptor, path)

    monkeypatch.setattr(maps, "pin", pin)

    def unpinned() -> None:
        kept = StoreMaps.open(config)
        store = kept.store()
        kept.pin()
        assert kept.pins is None and not kept.stays(ended_well=False)
        assert store.problems() == []

    assert in_process(unpinned) == 0
    assert "cannot be pinned" in capfd.readouterr().out
    folder = PinFolder.take(config.instance)
    assert left_behind(folder) is None and not folder.names()
    folder.close()


def test_maps_of_another_form_are_refused(config: ServerConfig) -> None:
    assert in_process(lambda: serve(config)) == _NEW
    folder = PinFolder.take(config.instance)
    other = maps.MapForm.shared(64, 8).make("tenants")
    folder.pin("tenants", other)
    os.close(other)
    folder.close()
    with pytest.raises(ServerError, match=f"damaged .*{config.instance}/tenants"):
        StoreMaps.open(config)
    config.fresh = True
    assert in_process(lambda: serve(config)) == _NEW
    config.fresh = False
    assert in_process(lambda: serve(config)) == _ATTACHED


def test_pages_of_code_are_kept(config: ServerConfig) -> None:
    kept = StoreMaps.open(config)
    pages = kept.code_pages()
    content = {number: os.urandom(4096) for number in (0, 5, limits.CODE_REGION_BYTES // 4096 - 1)}
    for number, page in content.items():
        pages.write(number, bytes(4096))
        pages.write(number, page)
    assert dict(CodePages(kept.descriptors["code_pages"]).pages()) == content
    kept.close(forget=True)


def test_names_with_a_dot_have_a_folder_of_their_own(unique_name: str) -> None:
    first, second = PinFolder.take(unique_name + ".a"), PinFolder.take(unique_name + "-a")
    assert {unique_name + ".a", unique_name + "-a"} <= set(instances())
    for each in (first, second):
        each.remove()
        each.close()

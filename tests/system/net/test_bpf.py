"""Programs that were linked here, in the kernel: functions verified once, loops, memory of maps, and refusals."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from splinter.net.bpf import BpfRefusedError, MapForm, clang, compile_c, link, load, maps
from tests.support.xdp_runs import run_program
from tests.unit.net.test_bpf import CALLS, HEAD, LOOP

pytestmark = pytest.mark.xdp

MAY_GOTO_SINCE = (6, 9)
NEW_ENOUGH = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= MAY_GOTO_SINCE


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "kernel.h").write_text((clang.BPF_FOLDER / "kernel.h").read_text())
    monkeypatch.setattr(clang, "BPF_FOLDER", tmp_path)
    yield tmp_path


def run(folder: Path, text: str, queue: int = 0, given: Mapping[str, int] | None = None, may_goto: bool = False) -> int:
    (folder / "program.c").write_text(HEAD + text)
    program = load(link(compile_c("program.c", {}), "entry", given or {}, may_goto), "entry")
    try:
        return run_program(program, bytes(64), 1, queue)[0]
    finally:
        os.close(program)


def test_functions_call_each_other(sources: Path) -> None:
    text = CALLS.replace("bpf_get_prandom_u32()", "5")
    assert run(sources, text) == (5 + 1) * 3 + 5 + 2


def test_a_loop_without_end_in_sight_needs_may_goto(sources: Path) -> None:
    text = LOOP.replace("ctx->rx_queue_index", "ctx->data_end - ctx->data + 1337 - 64")
    with pytest.raises(BpfRefusedError) as refused:
        run(sources, text)
    assert any(words in refused.value.log for words in ("infinite loop", "too large", "too complex"))
    if not NEW_ENOUGH:  # no setup can change a machine's kernel, and an older one does without (above)
        pytest.skip("optional: may_goto needs Linux 6.9")
    assert run(sources, text, may_goto=True) == 44


def test_the_memory_of_a_map_stands_in_the_program(sources: Path) -> None:
    form = MapForm.shared(64, 1)
    fd = form.make("memory")
    with mmap.mmap(fd, form.mapped_bytes) as memory:
        memory[:64] = struct.pack("<8Q", *range(10, 18))
        text = "extern __u64 memory_value[8];\nint entry(void) { memory_value[1] = 99; return memory_value[6]; }"
        assert run(sources, text, given={"memory": fd}) == 16
        assert memory[8] == 99
    os.close(fd)


def test_elements_are_set_read_and_removed() -> None:
    fd = maps.create(maps.Kind.HASH, 8, 4, 4, name="of_a_name_longer_than_fifteen")
    maps.update(fd, b"12345678", b"abcd")
    assert maps.lookup(fd, b"12345678", 4) == b"abcd"
    maps.delete(fd, b"12345678")
    with pytest.raises(FileNotFoundError):
        maps.lookup(fd, b"12345678", 4)
    os.close(fd)


def test_a_refusal_names_the_program_and_the_reason(sources: Path) -> None:
    with pytest.raises(BpfRefusedError, match=r"the kernel refused the program entry: .*: .*outside of the packet") as refused:
        run(sources, "int entry(struct xdp_md *ctx) { return *(__u8 *)(long)ctx->data; }")
    assert "processed" in refused.value.log

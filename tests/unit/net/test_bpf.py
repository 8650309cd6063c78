"""Linking: functions, maps, loops and data, by small sources. The kernel's part is in tests/system/net/test_bpf.py."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from splinter.errors import ServerError
from splinter.net.bpf import clang, compile_c, link
from splinter.net.bpf.elf import INSTRUCTION_BYTES

HEAD = '#include "kernel.h"\n'
CALLS = """
static __attribute__((noinline)) int inner(__u32 number) { return bpf_get_prandom_u32() + number; }
__attribute__((noinline)) int outer(__u32 number) { return inner(number + 1) * 3; }
__attribute__((noinline)) int nobody_s(__u32 number) { return number + 5; }
int entry(struct xdp_md *ctx) { return outer(ctx->rx_queue_index) + inner(2); }
"""
LOOP = """
int entry(struct xdp_md *ctx)
{
    __u32 number = ctx->rx_queue_index, rounds = 0;

    while (number != 1) {
        number = number & 1 ? number * 3 + 1 : number / 2;
        rounds += 1;
    }
    return rounds;
}
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of ``bpf/``, and one for what is compiled."""
    (tmp_path / "kernel.h").write_text((clang.BPF_FOLDER / "kernel.h").read_text())
    monkeypatch.setattr(clang, "BPF_FOLDER", tmp_path)
    return tmp_path


def compiled(folder: Path, text: str, **defines: object) -> bytes:
    (folder / "program.c").write_text(HEAD + text)
    return compile_c("program.c", defines)


def instructions(code: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<BBhi", code))


def test_a_program_is_its_entry_and_what_that_calls(sources: Path) -> None:
    code = link(compiled(sources, CALLS), "entry", {})
    starts = [at for at, _ in code.infos]
    assert starts[0] == 0 and len(starts) == 3 and len({kind for _, kind in code.infos}) == 3
    calls = [(at, one[3]) for at, one in enumerate(instructions(code.instructions)) if one[0] == 0x85 and one[1] >> 4 == 1]
    assert {at + 1 + distance for at, distance in calls} == set(starts[1:])
    assert code.btf


def test_one_function_needs_no_types(sources: Path) -> None:
    code = link(compiled(sources, "int entry(struct xdp_md *ctx) { return ctx->rx_queue_index; }"), "entry", {})
    assert (code.infos, code.btf) == ((), b"")


def test_maps_are_given_by_name(sources: Path) -> None:
    text = """
    extern struct map table;
    extern struct map memory;
    extern __u64 memory_value[4];
    int entry(struct xdp_md *ctx)
    {
        __u32 at = ctx->rx_queue_index;
        return !!bpf_map_lookup_elem(&table, &at) + memory_value[2];
    }
    """
    elf = compiled(sources, text)
    loads = [one for one in instructions(link(elf, "entry", {"table": 71, "memory": 72}).instructions) if one[0] == 0x18]
    assert {(one[1] >> 4, one[3]) for one in loads} == {(1, 71), (2, 72)}
    with pytest.raises(ServerError, match=r"the program has no map (table|memory)"):
        link(elf, "entry", {})


def test_may_goto_stands_in_front_of_jumps_backwards_alone(sources: Path) -> None:
    elf = compiled(sources, LOOP)
    plain, guarded = (instructions(link(elf, "entry", {}, may_goto=wanted).instructions) for wanted in (False, True))
    assert not [one for one in plain if one[0] == 0xE5]
    guards = [at for at, one in enumerate(guarded) if one[0] == 0xE5]
    assert guards
    for at in guards:
        assert guarded[at + 1][2] < 0  # a jump backwards
        assert guarded[at + 1 + guarded[at][2]] == (0xB7, 0, 0, 0)  # and the guard's way out: return 0
    backwards = [one for at, one in enumerate(guarded) if one[0] & 7 in (5, 6) and one[0] not in (0x85, 0x95) and one[2] < 0]
    assert len(backwards) == len(guards)


def test_what_cannot_be_linked_is_told(sources: Path) -> None:
    elf = compiled(sources, "static __u32 number = 3; int entry(struct xdp_md *ctx) { return number += ctx->rx_queue_index; }")
    with pytest.raises(ServerError, match="only maps and functions are linked"):
        link(elf, "entry", {})
    with pytest.raises(ServerError, match="no function nosuch"):
        link(elf, "nosuch", {})


def test_the_compiler_s_words_are_shown(sources: Path) -> None:
    with pytest.raises(ServerError, match=r"program\.c:2:"):
        compiled(sources, "int entry(void) { return nosuch; }")


def test_what_was_compiled_is_kept_until_a_source_changes(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "int entry(struct xdp_md *ctx) { return ctx->rx_queue_index + NUMBER; }"
    first = compiled(sources, text, NUMBER=1)
    monkeypatch.setattr(clang.subprocess, "run", None)  # nothing is compiled
    assert compiled(sources, text, NUMBER=1) == first
    with pytest.raises(TypeError):
        compiled(sources, text, NUMBER=2)
    (sources / "other.h").write_text("/* of no use */")
    with pytest.raises(TypeError):
        compiled(sources, text, NUMBER=1)


def test_instructions_have_eight_bytes(sources: Path) -> None:
    code = link(compiled(sources, LOOP), "entry", {})
    assert len(code.instructions) % INSTRUCTION_BYTES == 0

"""What perf prints is read right, functions get their names, and folded stacks have their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from splinter_bench import perf
from splinter_bench.profile import Sampled

from splinter.errors import SplinterError
from splinter.native import perf_map
from splinter.native.perf_map import PerfMap
from splinter.store.hashing import identity_of

PRINTED = """\
 17
\tffffffff81d35f08 veth_xmit ([kernel.kallsyms])
\tffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
\t    7f0000000010 __libc_sendto (/usr/lib/libc.so.6)

 17
\t    7f0000001020 [unknown] (/tmp/perf-17.map)
\t               1 [unknown] ([unknown])

 17
\t    7f0000002000 [unknown] (/memfd:splinter-code (deleted))

 18
\t    7f0000009000 [unknown] (/tmp/perf-17.map)

 18

 18
\t    7f0000000010 __libc_sendto (/usr/lib/libc.so.6)
"""


def names_in(folder: Path) -> PerfMap:
    path = folder / "perf.map"
    path.write_text("7f0000001000 40 worker.requests.handle\n7f0000001040 10 worker.reply.finish\n")
    return PerfMap(path)


def test_samples_are_told_apart_by_process_and_by_side(tmp_path: Path) -> None:
    samples = perf.parse(PRINTED, names_in(tmp_path))
    assert samples == {
        17: {
            ("kernel", "do_syscall_64", "veth_xmit"): 1,
            ("user", "worker.requests.handle"): 1,
            ("user", "extension"): 1,
        },
        18: {("user", "[perf-17.map]"): 1, ("user", "__libc_sendto"): 1},
    }


def test_an_address_belongs_to_one_function_or_to_none(tmp_path: Path) -> None:
    names = names_in(tmp_path)
    assert names.name(0x7F000000103F) == "worker.requests.handle"
    assert names.name(0x7F0000001040) == "worker.reply.finish"
    assert names.name(0x7F0000001050) is None
    assert names.name(0x7F0000000FFF) is None


def test_compiled_functions_are_in_the_map(tmp_path: Path) -> None:
    identity_of(1, 1, 8)  # compiles it
    path = tmp_path / "perf.map"
    perf_map.write(path)
    compiled = next(iter(identity_of.overloads.values()))
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    assert PerfMap(path).name(address) == "store.hashing.identity_of"


def test_a_numba_name_is_made_readable() -> None:
    assert perf_map.readable("_ZN8splinter6worker8requests6handleB4v219B38c8tJTIeFIjxB2IKSgI4Crv") == "worker.requests.handle"


def test_folded_stacks_have_a_line_for_each_stack_with_its_own_part(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    perf.fold({("a<b", "c"): 30.0, ("a<b",): 10.0, ("d",): 0.0404}, path)
    assert path.read_text() == "a<b 10000\na<b;c 30000\nd 40\n"


def test_the_kernel_s_share_of_a_round_trip_is_that_of_both_sides() -> None:
    worker = {("kernel", "a", "b"): 30.0, ("user", "c"): 70.0}
    assert Sampled("get", 1, 1000.0, worker, 20.0).kernel_share == pytest.approx(50)
    assert Sampled("get", 64, 1000.0, worker, 20.0).kernel_share == pytest.approx(30)
    assert Sampled("get", 1, 1000.0, worker, 20.0).functions() == {"b (kernel)": 30.0, "c": 70.0}


def test_nothing_makes_no_folded_stacks(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    with pytest.raises(SplinterError, match="at least one sample"):
        perf.fold({}, path)
    assert not path.exists()


def test_folded_stacks_that_cannot_be_written_are_told_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(SplinterError, match="nowhere"):
        perf.fold({("a",): 1.0}, tmp_path / "nowhere" / "stacks.txt")

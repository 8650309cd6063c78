"""BPF, without a library: compile a source of ``bpf/``, make its maps, link it to them, load it.

:mod:`.clang` makes an ELF file of a source, :mod:`.maps` makes maps, :mod:`.elf` makes instructions of the ELF file and the
maps' descriptors, :mod:`.load` gives them to the kernel.
"""

from splinter.net.bpf.clang import compile_c
from splinter.net.bpf.elf import Code, link
from splinter.net.bpf.load import BpfRefusedError, load
from splinter.net.bpf.maps import Kind, MapForm

__all__ = ["BpfRefusedError", "Code", "Kind", "MapForm", "compile_c", "link", "load"]

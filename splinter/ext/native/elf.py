"""The machine code in an ELF64 relocatable object, laid out as one position-independent blob.

LLVM gives an object file; what is needed is bytes that run at any address. The code section comes first, the read-only data
that it refers to behind it, and the PC-relative references between them are filled in here. Everything else (absolute
addresses, external symbols, writable data) is refused: such code would not be position-independent, or not ours.

Layout and relocation types: System V ABI, "ELF-64 Object File Format" 1.5 and the AMD64 supplement 1.0, section 4.4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from splinter.errors import SplinterError

_FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_ET_REL, _EM_X86_64 = 1, 62
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS = 1, 2, 4, 8
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_R_X86_64_PC32, _R_X86_64_PLT32 = 2, 4
_TEXT = ".text"
_ALIGNMENT_MAX = 64  # what the code region guarantees
_OUTSIDE = -1  # in place of a section's number: the symbol is in none of them
_NO_ROUTINES: Mapping[str, bytes] = {}
PADDING = 0xCC  # int3, so that a jump into nowhere traps


class ObjectError(SplinterError):
    """The object file holds something that position-independent code must not."""


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    content: bytes
    link: int
    info: int
    alignment: int


@dataclass(frozen=True)
class Linked:
    """Code that runs at any address, and where in it each entry is, in bytes."""

    code: bytes
    entries: list[int]


def link(object_file: bytes, entries: Sequence[str], routines: Mapping[str, bytes] = _NO_ROUTINES) -> Linked:
    """The blob, with the function ``entries[0]`` at its first byte; raises :class:`ObjectError`.

    ``routines`` are blobs by the name of their function; the only outside symbols that may be referred to. They are laid
    behind the rest.
    """
    try:
        return _link(object_file, entries, routines)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ObjectError(f"the object file is damaged: {error}") from None


def _link(object_file: bytes, entries: Sequence[str], routines: Mapping[str, bytes]) -> Linked:
    sections = _sections(object_file)
    blob = bytearray()
    places: dict[int, int] = {}  # section number → offset in the blob
    loaded = [n for n, section in enumerate(sections) if section.flags & _SHF_ALLOC and section.content]
    for number in sorted(loaded, key=lambda n: sections[n].name != _TEXT):
        section = sections[number]
        if section.kind != _SHT_PROGBITS or section.flags & _SHF_WRITE:
            raise ObjectError(f"section {section.name} cannot be part of installed code")
        if section.alignment > _ALIGNMENT_MAX:
            raise ObjectError(f"section {section.name} wants an alignment of {section.alignment} bytes")
        places[number] = _append(blob, section.content, section.alignment)
    symbols = _symbols(sections)
    first = next((number for number, place in places.items() if place == 0), None)
    found = {name: value for name, at, value in symbols if at == first and value < len(sections[at].content)}
    if found.get(entries[0]) != 0:
        raise ObjectError(f"{entries[0]} is not the first function of the object file")
    if not found.keys() >= set(entries):
        raise ObjectError("the object file has no code for some entry")
    outside = {name: _append(blob, content, _ALIGNMENT_MAX) for name, content in routines.items()}
    for section in sections:
        if section.kind == _SHT_RELA and section.info in places:
            _relocate(blob, section, places, symbols, outside)
    return Linked(bytes(blob), [found[entry] for entry in entries])


def _append(blob: bytearray, content: bytes, alignment: int) -> int:
    blob += bytes([PADDING]) * (-len(blob) % max(alignment, 1))
    blob += content
    return len(blob) - len(content)


def _relocate(
    blob: bytearray,
    relocations: _Section,
    places: dict[int, int],
    symbols: list[tuple[str, int, int]],
    outside: dict[str, int],
) -> None:
    for offset, info, addend in _RELOCATION.iter_unpack(relocations.content):
        name, section, value = symbols[info >> 32]
        if info & 0xFFFFFFFF not in (_R_X86_64_PC32, _R_X86_64_PLT32):
            raise ObjectError(f"relocation type {info & 0xFFFFFFFF} against {name or 'a section'}")
        if section not in places and (section != _OUTSIDE or name not in outside):
            raise ObjectError(f"reference to external symbol {name}")
        target = outside[name] if section == _OUTSIDE else places[section] + value
        place = places[relocations.info] + offset
        if not 0 <= place <= len(blob) - 4:
            raise ObjectError("a relocation outside of its section")
        struct.pack_into("<i", blob, place, target + addend - place)


def _sections(data: bytes) -> list[_Section]:
    header = _FILE_HEADER.unpack_from(data)
    if not header[0].startswith(_MAGIC) or header[1:3] != (_ET_REL, _EM_X86_64):
        raise ObjectError("not an x86-64 ELF object file")
    start, entry_bytes, count, names_index = header[6], header[11], header[12], header[13]
    headers = [_SECTION_HEADER.unpack_from(data, start + i * entry_bytes) for i in range(count)]
    names_offset = headers[names_index][4]
    sections = []
    for name, kind, flags, _, offset, size, section_link, info, alignment, _ in headers:
        content = b"" if kind == _SHT_NOBITS else data[offset : offset + size]
        if kind != _SHT_NOBITS and len(content) != size:
            raise ObjectError("the object file is cut short")
        if kind == _SHT_NOBITS and size and flags & _SHF_ALLOC:
            raise ObjectError("the object file has zero-initialised data")
        sections.append(_Section(_string(data, names_offset + name), kind, flags, content, section_link, info, alignment))
    return sections


def _symbols(sections: list[_Section]) -> list[tuple[str, int, int]]:
    """Name, section and value of every symbol; undefined and absolute ones with a section that is never loaded."""
    for section in sections:
        if section.kind == _SHT_SYMTAB:
            names = sections[section.link].content
            return [
                (_string(names, name), index if _SHN_UNDEF < index < _SHN_LORESERVE else _OUTSIDE, value)
                for name, _, _, index, value, _ in _SYMBOL.iter_unpack(section.content)
            ]
    raise ObjectError("the object file has no symbols")


def _string(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()

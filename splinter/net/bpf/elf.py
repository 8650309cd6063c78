"""A small linker: from an ELF file of BPF to the instructions of one program.

The program is the function ``entry`` and those that it calls, one through the other. Undefined symbols are maps, given by name;
the symbol ``NAME_value`` is the memory of a map ``NAME`` of one element (an array's), at a fixed address. See
https://docs.kernel.org/bpf/llvm_reloc.html, and ``linux/btf.h`` for functions' types.

Loops: the kernel's verifier follows every round of a loop, unless it is told by ``may_goto`` (Linux 6.9) that the loop may end
at any round. It ends after eight million, and the function then returns 0.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from splinter.errors import ServerError

INSTRUCTION_BYTES = 8
VALUE_SUFFIX = "_value"

_INSTRUCTION = struct.Struct("<BBhi")  # code, registers (source << 4 | destination), offset, immediate
_SECTION = struct.Struct("<2I4Q2I2Q")  # name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
_RELOCATION = struct.Struct("<2Q")  # offset, symbol << 32 | type
_SYMBOLS_SECTION, _RELOCATIONS_SECTION = 2, 9
_UNDEFINED = 0
_FUNCTION, _A_SECTION = 2, 3  # of a symbol

_LOAD_64 = 0x18  # takes two instructions
_CALL, _CALL_PSEUDO = 0x85, 1
_EXIT, _CLEAR_R0 = 0x95, (0xB7, 0, 0, 0)
_JUMP_LONG = 0x06  # its distance is the immediate
_MAY_GOTO = 0xE5
_CLASS, _JUMP, _JUMP_32 = 0x07, 0x05, 0x06
_MAP_FD, _MAP_VALUE = 1, 2  # source registers of loads of 64 bits


@dataclass(frozen=True)
class Code:
    """A program that can be loaded: instructions, and for its functions where they begin and their types in the BTF.

    ``infos`` is empty when the program is one function: nothing is to be known of it.
    """

    instructions: bytes
    infos: tuple[tuple[int, int], ...] = ()
    btf: bytes = b""


@dataclass
class _Instruction:
    code: int
    registers: int
    offset: int
    immediate: int
    target: _Instruction | None = None  # of a jump
    callee: str = ""  # of a call

    def pack(self) -> bytes:
        return _INSTRUCTION.pack(self.code, self.registers, self.offset, self.immediate)


@dataclass
class _Function:
    name: str
    start: int  # instruction in its section
    body: list[_Instruction] = field(default_factory=list)


def link(
    elf: bytes,
    entry: str,
    maps: Mapping[str, int],
    may_goto: bool | Collection[str] = False,
    replaced: Mapping[str, bytes] | None = None,
) -> Code:
    """The program that begins with the function ``entry``. ``maps``: descriptors by name. ``may_goto``: in all
    functions, or in those of these names. ``replaced``: by name, functions that
    are taken from other ELF files, which refer to functions of this one and nothing else; their types stand here.

    Raises :class:`ServerError` for an entry or a map that is not there, and for what a program cannot have: data.
    """
    file = _Elf(elf)
    others = {name: _Elf(other) for name, other in (replaced or {}).items()}
    found: dict[str, _Function] = {}
    ahead = [entry]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = others.get(name, file).function(name, maps)
            ahead += [instruction.callee for instruction in found[name].body if instruction.callee]
    for name, function in found.items():
        if may_goto is True or (may_goto and name in may_goto):
            _end_loops(function)
    starts: dict[str, int] = {}
    all_of_them: list[_Instruction] = []
    for name, function in found.items():
        starts[name] = len(all_of_them)
        all_of_them += function.body
    _resolve(all_of_them, starts)
    instructions = b"".join(instruction.pack() for instruction in all_of_them)
    if len(found) == 1 or not file.types:
        return Code(instructions)
    infos = tuple((at, file.types[file.start(name)]) for name, at in starts.items())
    return Code(instructions, infos, file.btf)


def _end_loops(function: _Function) -> None:
    """Put ``may_goto`` in front of each jump backwards; where it jumps to the function returns 0."""
    body = function.body
    at = {id(instruction): place for place, instruction in enumerate(body)}
    backward = [one for one in body if one.target is not None and at[id(one.target)] <= at[id(one)]]
    if not backward:
        return
    end = _Instruction(*_CLEAR_R0)
    guards = {}
    for jump in backward:
        # The guard takes the place of the jump: what jumped to the one jumps to the other.
        guard, moved = jump, replace(jump)
        guards[id(guard)] = moved
        guard.code, guard.registers, guard.offset, guard.immediate, guard.target = _MAY_GOTO, 0, 0, 0, end
    function.body = [part for one in body for part in ((one, guards[id(one)]) if id(one) in guards else (one,))] + [
        end,
        _Instruction(_EXIT, 0, 0, 0),
    ]


def _resolve(instructions: list[_Instruction], starts: Mapping[str, int]) -> None:
    """Write the distances of jumps and calls."""
    at = {id(instruction): place for place, instruction in enumerate(instructions)}
    for place, one in enumerate(instructions):
        if one.callee:
            one.immediate = starts[one.callee] - place - 1
        elif one.target is not None:
            distance = at[id(one.target)] - place - 1
            if one.code == _JUMP_LONG:
                one.immediate = distance
            else:
                one.offset = distance


def _targets(body: list[_Instruction]) -> None:
    """Note of each jump where it goes."""
    skip = False
    for place, one in enumerate(body):
        if skip:
            skip = False
            continue
        skip = one.code == _LOAD_64
        if one.code & _CLASS not in (_JUMP, _JUMP_32) or one.code in (_CALL, _EXIT):
            continue
        one.target = body[place + 1 + (one.immediate if one.code == _JUMP_LONG else one.offset)]


class _Elf:
    """The parts of a file that linking needs."""

    def __init__(self, elf: bytes) -> None:
        self._bytes = elf
        (sections_at,) = struct.unpack_from("<Q", elf, 40)
        count, names = struct.unpack_from("<HH", elf, 60)
        self._sections = [_SECTION.unpack_from(elf, sections_at + at * _SECTION.size) for at in range(count)]
        self._names = self._content(self._sections[names])
        by_name = {_text(self._names, section[0]): section for section in self._sections}
        (symbols,) = (section for section in self._sections if section[1] == _SYMBOLS_SECTION)
        texts = self._content(self._sections[symbols[6]])
        self._symbols = [
            (_text(texts, name), info & 0xF, section, value, size)
            for name, info, _, section, value, size in _SYMBOL.iter_unpack(self._content(symbols))
        ]
        self.btf = _without_externs(self._content(by_name[".BTF"])) if ".BTF" in by_name else b""
        self.types = dict(self._function_types(self._content(by_name[".BTF.ext"]))) if self.btf else {}

    def _content(self, section: tuple[int, ...]) -> bytes:
        return self._bytes[section[4] : section[4] + section[5]]

    def _function_types(self, extension: bytes) -> Iterator[tuple[int, int]]:
        """First instruction in ``.text``, and type, of each function (``struct btf_ext_header`` in ``linux/btf.h``)."""
        header_bytes, at, size = struct.unpack_from("<3I", extension, 4)
        at += header_bytes
        end = at + size
        (record_bytes,) = struct.unpack_from("<I", extension, at)
        at += 4
        while at < end:
            _, count = struct.unpack_from("<2I", extension, at)
            at += 8
            for _ in range(count):
                offset, type_number = struct.unpack_from("<2I", extension, at)
                yield offset // INSTRUCTION_BYTES, type_number
                at += record_bytes

    def _place(self, name: str) -> tuple[int, int, int]:
        """Section, offset in it and bytes of a function."""
        for symbol, kind, section, value, size in self._symbols:
            if symbol == name and kind == _FUNCTION and section != _UNDEFINED:
                return section, value, size
        raise ServerError(f"the program has no function {name}")

    def start(self, name: str) -> int:
        """First instruction of a function in its section."""
        return self._place(name)[1] // INSTRUCTION_BYTES

    def function(self, name: str, maps: Mapping[str, int]) -> _Function:
        """A function with its map references filled in, and its jumps' targets and calls' names."""
        section, value, size = self._place(name)
        start = value // INSTRUCTION_BYTES
        text = self._content(self._sections[section])[value : value + size]
        function = _Function(name, start, [_Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(text)])
        _targets(function.body)
        symbols = self._references(section)
        for place, one in enumerate(function.body):
            reference = symbols.get(start + place)
            if one.code == _CALL and one.registers >> 4 == _CALL_PSEUDO:
                one.callee = self._callee(section, start + place + 1 + one.immediate, reference)
            elif reference is not None:
                self._refer(one, function.body[place + 1], reference, maps)
        return function

    def _references(self, section: int) -> dict[int, tuple[str, int, int, int, int]]:
        """Symbols by the instruction of the section that refers to each."""
        found = {}
        for _, kind, _, _, offset, size, _, info, _, _ in self._sections:
            if kind == _RELOCATIONS_SECTION and info == section:
                for at, what in _RELOCATION.iter_unpack(self._bytes[offset : offset + size]):
                    found[at // INSTRUCTION_BYTES] = self._symbols[what >> 32]
        return found

    def _callee(self, section: int, instruction: int, reference: tuple[str, int, int, int, int] | None) -> str:
        if reference is not None and reference[1] != _A_SECTION:
            return reference[0]
        for name, kind, place, value, _ in self._symbols:
            if kind == _FUNCTION and place == section and value == instruction * INSTRUCTION_BYTES:
                return name
        raise ServerError(f"the program calls what is no function, at {instruction}")

    def _refer(
        self, one: _Instruction, second: _Instruction, reference: tuple[str, int, int, int, int], maps: Mapping[str, int]
    ) -> None:
        name, _, section, _, _ = reference
        if one.code != _LOAD_64 or section != _UNDEFINED:
            raise ServerError(f"the program has data ({name or 'constants'}): only maps and functions are linked")
        map_name = name.removesuffix(VALUE_SUFFIX)
        if map_name not in maps:
            raise ServerError(f"the program has no map {map_name}")
        kind = _MAP_FD if map_name == name else _MAP_VALUE
        one.registers |= kind << 4
        second.immediate = one.immediate if kind == _MAP_VALUE else 0  # offset in the memory
        one.immediate = maps[map_name]


_BTF_VAR, _BTF_EXTERN, _BTF_GLOBAL = 14, 2, 1
_BTF_EXTRA_BYTES = {1: 4, 3: 12, 14: 4, 17: 4}  # behind a type's head, by kind; others have none, or a list
_BTF_MEMBER_BYTES = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # in a list


def _without_externs(btf: bytes) -> bytes:
    """The types, with undefined variables told as defined ones: the kernel knows no others."""
    changed = bytearray(btf)
    header_bytes, at, size = struct.unpack_from("<3I", btf, 4)
    at += header_bytes
    end = at + size
    while at < end:
        info = struct.unpack_from("<I", btf, at + 4)[0]
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        at += 12
        if kind == _BTF_VAR and struct.unpack_from("<I", btf, at)[0] == _BTF_EXTERN:
            struct.pack_into("<I", changed, at, _BTF_GLOBAL)
        at += _BTF_EXTRA_BYTES.get(kind, 0) + count * _BTF_MEMBER_BYTES.get(kind, 0)
    return bytes(changed)


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()

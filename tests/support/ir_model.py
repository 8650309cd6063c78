"""Intermediate code as it says, step by step, on memory of which every byte is known: what the verifier's promises are held to.

Every access is looked up in the regions that a task may use, every byte that is read must have been written, and so must every
register; what a yield does not save is gone after it. The store is made up as it is asked: a get finds bytes of any length, or
nothing. A :class:`ViolationError` is what must not happen in code that the verifier accepts; nothing else ends a run but the
code itself, or too many steps.
"""

from __future__ import annotations

import random
from typing import Any, NoReturn

from splinter.ext import abi
from splinter.ext.abi import ResultKind
from splinter.ext.middle import ir
from splinter.ext.middle.ir import WORD_MASK, Constant, Instruction, Kind, Op, Operand, Register
from splinter.limits import (
    BYTES_PER_COST,
    CHECKPOINT_COST,
    DIGEST_PIECE_BYTES,
    FRAME_BYTES,
    INSTRUCTIONS_MAX,
    INSTRUCTIONS_PER_COST,
    TASK_BUDGET,
)
from tests.support.ir_numbers import DIVISIONS, EXACT, EXACT_SIGNED, FLOATS, SIMPLE, number_of, pattern_of, signed

_LOWEST, _APART = 1 << 40, 1 << 24  # regions lie far from one another: no slip out of one leads into the next

_SHARED_FIELDS = (abi.F_ARGUMENTS, abi.F_ARGUMENTS_LENGTH, abi.F_TENANT)
_OUT = {abi.F_OUT_ADDRESS: 8, abi.F_OUT_LENGTH: 8, abi.F_OUT_VERSION: 8}
_RESULT = {abi.F_RESULT: 8, abi.F_RESULT_LENGTH: 4}
_OPERANDS = {
    abi.C_GET: 3, abi.C_PUT: 5, abi.C_DELETE: 3, abi.C_PUT_IF: 6, abi.C_NOW_NS: 0, abi.C_LOG: 2, abi.C_ADD: 4,
    abi.C_DELETE_IF: 4, abi.C_PUT_TTL: 6, abi.C_PUT_IF_TTL: 7, abi.C_EXPIRE: 4, abi.C_PERSIST: 3, abi.C_TTL: 3,
}  # fmt: skip
_OPTIONAL = {abi.C_PUT_IF, abi.C_NOW_NS, abi.C_LOG}
# Work that no look at the budget has followed, in units of the budget: what may be left of it, and one operation.
_UNSEEN_MAX = TASK_BUDGET + CHECKPOINT_COST + INSTRUCTIONS_MAX // INSTRUCTIONS_PER_COST + 65536 // BYTES_PER_COST


class ViolationError(Exception):
    """The code did what it must not."""


class _Ended(Exception):
    """The task ended, as its code wanted."""


class _Region:
    def __init__(self, base: int, content: bytes, is_writable: bool, is_known: bool = True) -> None:
        self.base, self.bytes, self.is_writable = base, bytearray(content), is_writable
        self.known = bytearray([is_known]) * len(content)


class Model:
    """One run of one function."""

    def __init__(self, function: ir.Function, placement: ir.Placement, result: ResultKind, seed: int) -> None:
        self.function, self.placement, self.result = function, placement, result
        self.random = random.Random(seed)
        self.regions: list[_Region] = []
        self.frame = self._region(bytes(FRAME_BYTES), is_writable=True, is_known=False)
        self.data = {number: self._region(content, False) for content, number in function.data.items()}
        self.scratch = [self._region(bytes(8), True, False) for _ in range(function.scratch_cells)]
        self.values: dict[Any, int] = {}  # by register, or by the place that several share
        self.holders: dict[int, int] = {}  # by place: the register whose value it has
        self.steps = 0
        self.unseen = 0  # cost since the last look at the budget
        self.last_helper = -1  # that was called: what it left in the frame

    def _region(self, content: bytes, is_writable: bool, is_known: bool = True) -> int:
        base = _LOWEST + _APART * len(self.regions)
        self.regions.append(_Region(base, content, is_writable, is_known))
        return base

    # --- memory -------------------------------------------------------------------------------------------------------

    def _span(self, address: int, length: int, *, write: bool) -> tuple[_Region, int]:
        number, at = divmod(address - _LOWEST, _APART)
        if not 0 <= number < len(self.regions):
            raise ViolationError(f"an address that is nobody's: {address:#x}")
        region = self.regions[number]
        if at + length > len(region.bytes) or (write and not region.is_writable):
            raise ViolationError(f"{length} bytes at {at} of {len(region.bytes)}, {'write' if write else 'read'}")
        if address - at == self.frame and at < abi.FRAME_HEADER_BYTES:
            raise ViolationError("the frame's header")
        return region, at

    def read(self, address: int, length: int) -> bytes:
        """Bytes that are certainly the task's."""
        if not length:
            return b""
        region, at = self._span(address, length, write=False)
        if not all(region.known[at : at + length]):
            raise ViolationError("bytes that nobody wrote are read")
        return bytes(region.bytes[at : at + length])

    def write(self, address: int, content: bytes) -> None:
        if content:
            region, at = self._span(address, len(content), write=True)
            region.bytes[at : at + len(content)] = content
            region.known[at : at + len(content)] = b"\1" * len(content)

    def _set_field(self, offset: int, value: int, size: int) -> None:
        frame = self.regions[0]
        frame.bytes[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        frame.known[offset : offset + size] = b"\1" * size

    def _field(self, offset: int, size: int) -> int:
        frame = self.regions[0]
        if not all(frame.known[offset : offset + size]):
            raise ViolationError("a field that nobody wrote is read")
        return int.from_bytes(frame.bytes[offset : offset + size], "little")

    # --- running ------------------------------------------------------------------------------------------------------

    def run(self, arguments: bytes, steps_max: int = 3000) -> None:
        """A task. Raises :class:`ViolationError`."""
        self._set_field(abi.F_ARGUMENTS, self._region(arguments, False), 8)
        self._set_field(abi.F_ARGUMENTS_LENGTH, len(arguments), 4)
        self._set_field(abi.F_TENANT, 7, 4)
        block = self.function.blocks[0]
        try:
            while self.steps < steps_max:
                block = self._block(block)
        except _Ended:
            pass

    def _block(self, block: ir.Block) -> ir.Block:
        for instruction in block.instructions:
            self._step(instruction)
        terminator = block.terminator
        self.steps += 1
        match terminator:
            case ir.Branch(condition=condition, yes=yes, no=no):
                return yes if self._value(condition) else no
            case ir.Yield(target=target):
                self.unseen = 0
                self._yield(block)
                return target
            case ir.Jump(target=target, may_yield=True, cost=cost):
                self._spend(cost)
                if self.placement.preempt:
                    self.unseen -= self.unseen if self.random.random() < 0.5 else 0
                    if not self.unseen:
                        self._yield(block)
                return target
            case ir.Jump(target=target):
                return target
        self._finish()
        raise _Ended

    def _spend(self, cost: float) -> None:
        self.unseen += cost
        if self.unseen > 8 * _UNSEEN_MAX:
            raise ViolationError("work without end and without a look at the budget")

    def _yield(self, block: ir.Block) -> None:
        if block not in self.placement.states:
            raise ViolationError("a yield that does not come back")
        for base in self.scratch:
            region = self.regions[(base - _LOWEST) // _APART]
            region.known = bytearray(8)
        if self.placement.in_frame:
            kept: dict[Any, int] = {key: value for key, value in self.values.items() if key[0] == "place"}
        else:
            kept, places = {}, set()
            for register in self.placement.saved[block]:
                place = self.placement.slots[register.number]
                if place in places:
                    raise ViolationError("two registers in one place")
                places.add(place)
                if ("register", register.number) in self.values:
                    kept["register", register.number] = self.values["register", register.number]
        self.values = kept

    def _finish(self) -> None:
        if self.result is ResultKind.SCALAR:
            self._field(abi.F_RESULT, 8)
        elif self.result is ResultKind.BYTES:
            address, length = self._field(abi.F_RESULT, 8), self._field(abi.F_RESULT_LENGTH, 4)
            if any(base <= address < base + _APART for base in self.scratch):
                raise ViolationError("the result is on the stack")
            self.read(address, length)

    # --- values -------------------------------------------------------------------------------------------------------

    def _key(self, register: Register) -> tuple[str, int]:
        number = register.number
        if self.placement.in_frame and number in self.placement.slots:
            return "place", self.placement.slots[number]
        return "register", number

    def _value(self, operand: Operand) -> int:
        if isinstance(operand, Constant):
            return operand.value
        key = self._key(operand)
        if key not in self.values or (self.holders.get(key[1], operand.number) != operand.number and key[0] == "place"):
            raise ViolationError("a register that holds nothing, or something else")
        return self.values[key]

    def _assign(self, register: Register, value: int) -> None:
        key = self._key(register)
        self.values[key] = value
        if key[0] == "place":
            self.holders[key[1]] = register.number

    def _step(self, instruction: Instruction) -> None:
        self.steps += 1
        self._spend(1 / INSTRUCTIONS_PER_COST)
        op, operands = instruction.op, [self._value(operand) for operand in instruction.operands]
        if op is Op.CHECK:
            if not operands[0]:
                self._fail(instruction)
        elif op is Op.SPEND:
            self._spend(instruction.size)
        elif op is Op.STORE:
            self._store(instruction, *operands)
        elif op is Op.COPY:
            self.write(operands[0], self.read(operands[1], operands[2]))
        elif op is Op.CLEAR:
            self.write(operands[0], bytes(instruction.size))
        else:
            assert instruction.target is not None
            value = self._result(instruction, operands)
            self._assign(instruction.target, value & (1 if instruction.target.kind is Kind.BIT else WORD_MASK))

    def _fail(self, instruction: Instruction) -> NoReturn:
        """The task ends with an error; of one that it raised itself the worker replies the code."""
        if instruction.error == abi.ExtensionError.RAISED:
            self._field(abi.F_RESULT, 8)
        raise _Ended

    def _store(self, instruction: Instruction, address: int, value: int) -> None:
        offset, size = address - self.frame, instruction.size
        if offset in _RESULT:
            if size != _RESULT[offset]:
                raise ViolationError("a field of another size")
            self._set_field(offset, value, size)
        else:
            self.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def _load(self, instruction: Instruction, address: int) -> int:
        offset, size = address - self.frame, instruction.size
        if offset in _SHARED_FIELDS:
            return self._field(offset, size)
        if offset in _OUT:
            tellers = (abi.C_GET, abi.C_ADD, abi.C_TTL) if offset == abi.F_OUT_VERSION else (abi.C_GET,)
            if self.last_helper not in tellers or size != 8:
                raise ViolationError("what a get did not leave is read")
            return self._field(offset, size)
        content = self.read(address, size)
        return int.from_bytes(content, "little", signed=instruction.op is Op.LOAD_SIGNED)

    def _result(self, instruction: Instruction, operands: list[int]) -> int:
        op, size = instruction.op, instruction.size
        if op in SIMPLE:
            return int(SIMPLE[op](*operands))
        if op in EXACT:
            exact = EXACT[op](*([signed(operand) for operand in operands] if op in EXACT_SIGNED else operands))
            low, high = (-(1 << 63), (1 << 63) - 1) if op in EXACT_SIGNED else (0, WORD_MASK)
            if not low <= exact <= high:
                self._fail(instruction)
            return exact
        if op in DIVISIONS:
            return self._divide(op, *operands)
        if op in (Op.SHL, Op.LSHR, Op.ASHR):
            value, count = operands
            if count > 63:
                raise ViolationError("a shift by a word or more")
            return value << count if op is Op.SHL else value >> count if op is Op.LSHR else signed(value) >> count
        if op in FLOATS:
            return pattern_of(FLOATS[op](*map(number_of, operands)))
        if op in (Op.TO_SIGNED, Op.TO_UNSIGNED):
            number, low = number_of(operands[0]), -(2.0**63) if op is Op.TO_SIGNED else -0.999999
            if not low <= number < (2.0**63 if op is Op.TO_SIGNED else 2.0**64):
                raise ViolationError("a float that does not fit")
            return int(number)
        match op:
            case Op.LOAD | Op.LOAD_SIGNED:
                return self._load(instruction, operands[0])
            case Op.FRAME:
                return self.frame + size
            case Op.SCRATCH:
                if not 0 <= size < len(self.scratch):
                    raise ViolationError("a cell that is not there")
                return self.scratch[size]
            case Op.DATA:
                if size not in self.data:
                    raise ViolationError("constants that are not there")
                return self.data[size]
            case Op.HELPER:
                return self._helper(instruction, operands)
            case Op.MATH:
                if size not in (abi.C_EXP, abi.C_LOG_E) or not instruction.error:
                    raise ViolationError("no such function")
                return pattern_of(1.5)
            case Op.BYTES_EQUAL:
                return int(self.read(operands[0], operands[1]) == self.read(operands[2], operands[3]))
            case Op.CRC32 | Op.HASH64:
                if operands[1] > DIGEST_PIECE_BYTES:
                    raise ViolationError("too much at once")
                self.read(operands[0], operands[1])
                return self.random.getrandbits(32 if op is Op.CRC32 else 64)
            case Op.SWAP:
                return int.from_bytes((operands[0] & (1 << 8 * size) - 1).to_bytes(size, "little"), "big")
            case Op.FROM_SIGNED | Op.FROM_UNSIGNED:
                return pattern_of(float(signed(operands[0]) if op is Op.FROM_SIGNED else operands[0]))
            case Op.TO_BITS32 | Op.FROM_BITS32:
                return 0
        raise AssertionError(op)

    def _divide(self, op: Op, dividend: int, divisor: int) -> int:
        if divisor == 0:
            raise ViolationError("a division by 0")
        if op is Op.UDIV:
            return dividend // divisor
        if op is Op.UREM:
            return dividend % divisor
        left, right = signed(dividend), signed(divisor)
        if (left, right) == (-(1 << 63), -1):
            raise ViolationError("a division that overflows")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if op is Op.SDIV else left - quotient * right

    def _helper(self, instruction: Instruction, operands: list[int]) -> int:
        which = instruction.size
        if _OPERANDS.get(which) != len(operands) or (which in _OPTIONAL and not instruction.error):
            raise ViolationError("no such helper")
        self.last_helper = which
        if which == abi.C_NOW_NS:
            return self.random.getrandbits(60)
        first = 0 if which == abi.C_LOG else 1
        key = self.read(operands[first], operands[first + 1])
        if which != abi.C_LOG and (not 1 <= len(key) <= 255 or operands[0] >= 0xFF00):
            raise _Ended
        if which in (abi.C_PUT, abi.C_PUT_IF, abi.C_PUT_TTL, abi.C_PUT_IF_TTL):
            self.read(operands[3], operands[4])
        if which in (abi.C_ADD, abi.C_TTL):
            self._set_field(abi.F_OUT_VERSION, self.random.getrandbits(64), 8)
        is_found = self.random.random() < 0.8
        if which == abi.C_GET:
            content = self.random.randbytes(self.random.choice([0, 1, 7, 8, 9, 15, 16, 24, 40, 64, 100, 1000]))
            if self.random.random() < 0.5:
                content = bytes(len(content) - len(content) // 3) + content[: len(content) // 3]  # small numbers
            address = self._region(content, False) if is_found else 0
            for offset, value in zip(_OUT, (address, len(content), 2) if is_found else (0, 0, 0), strict=True):
                self._set_field(offset, value, 8)
        return int(is_found)

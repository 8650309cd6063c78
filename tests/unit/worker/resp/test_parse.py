"""The parser of the Redis protocol, by itself: what it reads, wherever the bytes end."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.worker.resp.commands import COMMANDS
from splinter.worker.resp.layout import ARGUMENT
from splinter.worker.resp.lines import Line
from splinter.worker.resp.memory import Door
from splinter.worker.resp.parse import find_command, is_whole, parse_command

MUTATED_BYTES = 10_000_000
WORDS = [b"SET", b"key", b"", b"\r\n", b"a value with spaces", bytes(range(256)), b"$3\r\nfoo\r\n", b"*1\r\n"]


class Parser:
    """A door without a worker. ``parse`` copies bytes to memory that ends with them."""

    def __init__(self) -> None:
        self.door = Door(-1, -1, -1, {}, 0)
        self.d = self.door.address
        self._bytes = np.zeros(0, np.uint8)

    def parse(self, data: bytes, *, is_stranger: bool = False) -> tuple[int, list[bytes]]:
        """What parse_command returns, as an offset; and the arguments, where it is more than 0."""
        self._bytes = np.frombuffer(data, np.uint8).copy()
        start = self._bytes.ctypes.data
        self.door.block["arguments_used"] = self.door.block["words_used"] = 0
        end = parse_command(self.d, start, start + len(data), is_stranger)
        if end <= 0:
            return end, []
        return end - start, self.arguments()

    def arguments(self) -> list[bytes]:
        """Those that were parsed last."""
        count = int(self.door.block["argc"][0])
        noted = np.frombuffer(_bytes_at(int(self.door.block["arguments"][0]), ARGUMENT.itemsize * count), ARGUMENT)
        return [_bytes_at(int(one["address"]), int(one["length"])) for one in noted]

    def look_through(self, data: bytes, cuts: list[int]) -> list[bytes]:
        """Parse a command that comes in pieces, going on each time where the look before has ended."""
        self._bytes = np.frombuffer(data, np.uint8).copy()
        start = self._bytes.ctypes.data
        scanned = left = 0
        for cut in [*cuts, len(data)]:
            self.door.block["arguments_used"] = self.door.block["words_used"] = 0
            if scanned:
                found = is_whole(self.d, start, start + cut, scanned, left, False)
            else:
                found = parse_command(self.d, start, start + cut, False) if cut else 0
            if found != 0:
                break
            if cut:
                assert cut < int(self.door.block["needed"][0]) <= len(data)
                left = int(self.door.block["scan_left"][0])
                scanned = int(self.door.block["scan_at"][0]) if left else 0
        assert found == start + len(data)
        return self.parse(data)[1]


def _bytes_at(address: int, length: int) -> bytes:
    return ctypes.string_at(address, length)


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    yield Parser()


def encode(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def test_a_command_is_whole_at_its_last_byte_and_no_sooner(parser: Parser) -> None:
    for words in ([b"PING"], WORDS, [b"SET", b"k", b"v" * 1000], [b""]):
        data = encode(*words)
        for cut in range(1, len(data)):
            assert parser.parse(data[:cut]) == (0, []), data[:cut]
            needed = int(parser.door.block["needed"][0])
            assert cut < needed <= len(data), data[:cut]
        assert parser.parse(data) == (len(data), words)
        assert parser.parse(data + b"*1\r\n$4\r\nPI") == (len(data), words)


def test_every_command_cut_at_every_byte(parser: Parser) -> None:
    for command in COMMANDS:
        data = encode(command.name.encode(), *[b"argument"] * (abs(command.arity) - 1))
        for cut in range(1, len(data)):
            assert parser.parse(data[:cut])[0] == 0
        end, words = parser.parse(data)
        assert end == len(data) and len(words) == abs(command.arity)


def test_a_command_in_pieces_is_looked_through_once(parser: Parser) -> None:
    rng = random.Random(5)
    for _ in range(300):
        words = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(1, 12))]
        data = encode(*words)
        cuts = sorted(rng.sample(range(len(data)), rng.randrange(min(len(data), 9))))
        assert parser.look_through(data, cuts) == words


def test_a_pipeline_in_random_pieces(parser: Parser) -> None:
    rng = random.Random(6)
    commands = [[rng.randbytes(rng.randrange(30)) for _ in range(rng.randrange(1, 6))] for _ in range(400)]
    stream, kept, found = b"".join(encode(*words) for words in commands), b"", []
    while stream or kept:
        size = rng.randrange(1, 200)
        kept, stream = kept + stream[:size], stream[size:]
        while kept:
            end, words = parser.parse(kept)
            if end <= 0:
                assert end == 0 and stream
                break
            found.append(words)
            kept = kept[end:]
    assert found == commands


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"*x\r\n", Line.MULTIBULK),
        (b"*%d\r\n" % (limits.RESP_ARGUMENTS_MAX + 1), Line.MULTIBULK),
        (b"*99999999999999999999\r\n", Line.MULTIBULK),
        (b"*" + b"1" * 40, Line.MULTIBULK_LINE),
        (b"*1\r\n:3\r\n", Line.DOLLAR),
        (b"*1\r\n$-1\r\n", Line.BULK),
        (b"*1\r\n$x\r\n", Line.BULK),
        (b"*1\r\n$" + b"1" * 40, Line.BULK_LINE),
        (b"*1\r\n$%d\r\n" % (limits.RESP_COMMAND_BYTES_MAX + 1), Line.BULK),
        (b"*1\r\n$9223372036854775807\r\n", Line.BULK),
        (b"*2\r\n$9000000\r\n" + b"x" * 9_000_000 + b"\r\n$1000000\r\n", Line.COMMAND_BYTES),
        (b'SET "a\r\n', Line.QUOTES),
        (b'SET "a"b\r\n', Line.QUOTES),
        (b"x" * (limits.RESP_INLINE_BYTES_MAX + 1), Line.INLINE),
    ],
)
def test_what_is_no_command_is_told_at_once(parser: Parser, data: bytes, line: Line) -> None:
    assert parser.parse(data) == (-line, [])


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"*11\r\n", Line.STRANGER_MULTIBULK),
        (b"*2\r\n$4097\r\n", Line.STRANGER_BULK),
        (b"x" * 4096, Line.INLINE),
        (b"a b c d e f g h i j k\r\n", Line.INLINE),
    ],
)
def test_a_stranger_may_send_little(parser: Parser, data: bytes, line: Line) -> None:
    assert parser.parse(data, is_stranger=True) == (-line, [])
    assert parser.parse(data)[0] >= 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PING\r\n", [b"PING"]),
        (b"PING\n", [b"PING"]),
        (b"\r\n", []),
        (b"  \t \r\n", []),
        (b"*0\r\n", []),
        (b"*-1\r\n", []),
        (b"set  a\tb\r\n", [b"set", b"a", b"b"]),
        (b"set \"a b\" 'c d'\r\n", [b"set", b"a b", b"c d"]),
        (b"set \"\\x41\\n\\r\\t\\b\\a\\\"\\\\\\q\" '\\n\\''\r\n", [b"set", b'A\n\r\t\b\a"\\q', b"\\n'"]),
        (b"set \"\" ''\r\n", [b"set", b"", b""]),
        (b'set "\\xZZ"\r\n', [b"set", b"xZZ"]),
    ],
)
def test_a_line_that_people_type(parser: Parser, data: bytes, words: list[bytes]) -> None:
    assert parser.parse(data) == (len(data), words)
    for cut in range(1, len(data)):
        assert parser.parse(data[:cut])[0] == 0 or data.startswith(b"*")


def test_mutated_bytes_are_read_within_their_bounds(parser: Parser) -> None:
    """Ten million bytes: commands with bytes changed, left out, repeated. What is parsed lies within what came; an error or the
    wish for more ends it, and each step goes on."""
    rng, done = random.Random(7), 0
    pieces = [b"\r\n", b"*", b"$", b"-1", b"99999999999", b"0", b'"', b"'", b"\\x", b"\n", b" "]
    while done < MUTATED_BYTES:
        data = bytearray(b"".join(encode(*rng.choices(WORDS, k=rng.randrange(1, 6))) for _ in range(40)))
        for _ in range(rng.randrange(1, 30)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.choice(pieces) if rng.random() < 0.5 else rng.randbytes(rng.randrange(3))
        done += len(data)
        memory = np.frombuffer(bytes(data), np.uint8).copy()
        at, end = memory.ctypes.data, memory.ctypes.data + len(data)
        block = parser.door.block
        while at < end:
            block["arguments_used"] = block["words_used"] = 0
            following = parse_command(parser.d, at, end, False)
            if following <= 0:
                assert following == 0 or Line(-following)
                break
            assert at < following <= end
            words, used = int(block["words"][0]), int(block["words_used"][0])
            noted = np.frombuffer(_bytes_at(int(block["arguments"][0]), ARGUMENT.itemsize * int(block["argc"][0])), ARGUMENT)
            for address, length in noted.tolist():
                within = at <= address and address + length <= following
                assert within or words <= address <= address + length <= words + used <= words + limits.RESP_INLINE_BYTES_MAX
            at = following


def test_every_command_is_found_by_its_name_in_whatever_case(parser: Parser) -> None:
    for command in COMMANDS:
        for name in (command.name, command.name.upper(), command.name.title()):
            memory = np.frombuffer(name.encode(), np.uint8).copy()
            found = find_command(parser.d, memory.ctypes.data, len(memory))
            assert found != 0
            offset = found - int(parser.door.block["commands"][0])
            assert parser.door.commands["number"][offset // parser.door.commands.itemsize] == command.number
    for name in (b"GETT", b"GE", b"\0GET", b"GET\0", b"x" * 24, b"x" * 25, b"PEXPIRETIMEPEXPIRETIMEPE"):
        memory = np.frombuffer(name, np.uint8).copy()
        assert find_command(parser.d, memory.ctypes.data, len(memory)) == 0, name

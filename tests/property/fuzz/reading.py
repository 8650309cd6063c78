"""Random programs that can run in the kernel: they only read, know no floats, and show views by their digests."""

from __future__ import annotations

from tests.property.fuzz.expressions import COMPARISONS, I64_MAX, RESULTS
from tests.property.fuzz.programs import Program, Writer

_SHOWN = {
    "i": "{}", "u": f"({{}} & {I64_MAX})", "b": "int({})", "v": "crc32({})", "o": "(0 if {0} is None else crc32({0}) + 1)",
}  # fmt: skip


class ReadingProgram(Program):
    """As its base, without floats."""

    letters = "aupk"
    results = tuple(result for result in RESULTS if result != "f")

    @property
    def writer(self) -> type[Writer]:
        return ReadingWriter


class ReadingWriter(Writer):
    """As its base, without what writes, logs, yields or computes with floats."""

    def start(self) -> str:
        self.wanted -= {"f", "g"}
        made = super().start()
        self.names["f"] = []
        return made

    def _first(self, letter: str, name: str) -> list[str]:
        return [] if letter == "f" else super()._first(letter, name)

    def end(self) -> str:
        pairs = [(letter, name) for letter, names in self.names.items() for name in names]
        shown = ["c[0]", "c[3] * 7", "crc32(m)", *(_SHOWN[letter].format(name) for letter, name in pairs)]
        return f"\nreturn {' ^ '.join(shown)}"

    def store(self, depth: int) -> str:
        return ""

    def pause(self, depth: int) -> str:
        return ""

    def append(self, depth: int) -> str:
        if not self.has_buffer:
            return ""
        match self.random.randrange(3):
            case 0:
                return f"m.append({self.view(2)})"
            case 1:
                return f"m.append_{self.pick('u8', 'i16', 'u32_be', 'i64')}({self.of('i', 2)})"
        return f"m.set_{self.pick('u8', 'i16_be', 'u32')}({self.index(2)}, {self.of('i', 2)})"

    def compared(self, depth: int) -> str:
        if self.chance(0.6):
            parts = [self.of(self.pick("i", "u"), depth) for _ in range(self.random.choice((2, 2, 3)))]
            operators = COMPARISONS
        else:
            parts, operators = [self.either_view(depth) for _ in range(2)], ("==", "!=")
        text = parts[0]
        for part in parts[1:]:
            text += f" {self.pick(*operators)} {part}"
        return text

    def _nothing(self, depth: int) -> str:
        append = f"m.append({self.of('v', 0)})" if self.has_buffer else "None"
        return self._called("N", depth) or self.pick("None", append)

    def _of_u(self, depth: int) -> str:
        made = super()._of_u(depth)
        return f"db.version(1, {self.key()})" if "db.add" in made else made

    def _of_b(self, depth: int) -> str:
        made = super()._of_b(depth)
        return f"db.exists(1, {self.key()})" if any(f"db.{name}" in made for name in ("delete", "expire", "persist")) else made

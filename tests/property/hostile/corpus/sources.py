"""Programs that are hard on the parser: sizes, nesting, odd characters, huge constants."""

# ruff: noqa: E501 (the programs are data, one line each)

from splinter.limits import SOURCE_BYTES_MAX
from tests.property.hostile.corpus.case import Case, Result, body, gives, refused, refused_body

ONE = body("return 1")


def accepted(name: str, source: str, value: int = 1) -> Case:
    """A whole source that is odd, and means what it says."""
    return Case(name, source, Result(value))


def _filled(size: int, filler: str = "#") -> str:
    return ONE + filler * ((size - len(ONE)) // len(filler.encode()))


SIZES = [
    refused("nothing", "no-extension", 1, ""),
    refused("only blank lines", "no-extension", 1, "\n" * 10_000),
    refused("only a comment", "no-extension", 1, "# @extension"),
    refused("only a text", "no-extension", 1, "'''" + ONE + "'''"),
    accepted("the largest source", _filled(SOURCE_BYTES_MAX)),
    refused("one byte more", "source-size", 1, _filled(SOURCE_BYTES_MAX) + "\n"),
    refused("few characters, many bytes", "source-size", 1, _filled(SOURCE_BYTES_MAX, "#ж") + "жж"),
    refused("a megabyte", "source-size", 1, _filled(1 << 20)),
    refused("too many statements", "source-size", 1, body("a ^= 1\n" * 5000 + "return a")),
    refused("too many instructions", "too-large", 447, body("v = k\n" + "v = v[a:a]\n" * 1500 + "return len(v)")),
    refused("too many live variables", "too-large", 1, body(
        "\n".join(f"x{i} = a ^ {i}" for i in range(600)) + "\nyield\n" + "\n".join(f"a ^= x{i}" for i in range(600)) + "\nreturn a")),
    accepted("3000 variables", body("\n".join(f"x{i} = a" for i in range(3000)) + "\nreturn x2999")),
    accepted("4000 constants", "\n".join(f"C{i} = {i}" for i in range(4000)) + "\n" + body("return C3999"), 3999),
    accepted("a line of 60,000 characters", body("return 1" + " " * 60_000)),
    accepted("a documentation of 60,000 characters", body("'''" + "x" * 60_000 + "'''\nreturn 1")),
    accepted("a name of 60,000 letters", body("x" * 30_000 + " = 1\nreturn " + "x" * 30_000)),
    refused("17 parameters", "parameter", 2, body("return 1", parameters="db: Store, " + ", ".join(f"p{i}: u64" for i in range(17)))),
    refused("a thousand findings", "unknown-name", 3, body("\n".join(f"x{i} = y{i}" for i in range(1000)) + "\nreturn 1")),
]  # fmt: skip

CHARACTERS = [
    refused("a NUL byte", "syntax", 3, body("x = 1\0\nreturn 1")),
    refused("a NUL byte in a comment", "syntax", 3, body("# \0\nreturn 1")),
    refused("a byte order mark", "syntax", 1, "\ufeff" + ONE),
    refused("a byte order mark inside", "syntax", 3, body("x = \ufeff1\nreturn 1")),
    refused("half a surrogate pair", "syntax", 1, "# \ud800\n" + ONE),
    refused("a vertical tab", "syntax", 3, body("x =\v1\nreturn 1")),
    refused("tabs against spaces", "syntax", 4, "@extension\ndef f(db: Store) -> i64:\n        a = 1\n\treturn a\n"),
    refused("an unexpected indent", "syntax", 4, body("a = 1\n    return a")),
    refused("a text without an end", "syntax", 3, body("x = 'abc\nreturn 1")),
    refused("a long text without an end", "syntax", 3, body("x = '''abc\nreturn 1")),
    refused("a bracket without an end", "syntax", 3, body("x = (1\nreturn 1")),
    refused("a line that goes on at the end", "syntax", 3, body("x = 1\\").rstrip("\n")),
    refused("bytes beyond ASCII", "syntax", 3, body("x = b'é'\nreturn 1")),
    refused("a wrong escape", "syntax", 3, body("x = '\\N{NO SUCH NAME}'\nreturn 1")),
    refused("a line separator", "syntax", 3, body("x = 1\u2028y = 2\nreturn 1")),
    accepted("form feeds", "\f\n" + body("x = 1\nreturn\fx")),
    accepted("carriage returns", ONE.replace("\n", "\r")),
    accepted("both line ends", ONE.replace("\n", "\r\n")),
    accepted("tabs", ONE.replace("    ", "\t")),
    accepted("a cookie for UTF-7", "# -*- coding: utf-7 -*-\n" + body("return 1 # +AAo-return 2")),
    accepted("a cookie for no encoding", "# -*- coding: nonsense -*-\n" + ONE),
    accepted("a cookie for rot13", "# coding: rot13\n" + ONE),
    accepted("NUL bytes in bytes", body("return len(b'\\0\\0') - 1")),
]

NESTING = [
    refused("5000 brackets", "syntax", 3, body("return " + "(" * 5000 + "1" + ")" * 5000)),
    accepted("150 brackets", body("return " + "(" * 150 + "1" + ")" * 150)),
    refused("unclosed brackets", "syntax", 3, body("return " + "(" * 60_000)),
    refused("5000 list brackets", "syntax", 3, body("return " + "[" * 5000 + "]" * 5000)),
    *(  # so deep that Python's own parser gives up, which has no place in the source
        refused(f"{count} × {piece.strip()}", "nesting", 1, body("return " + piece * count + "1" + close * count))
        for piece, close, count in (
            ("-", "", 5000), ("~", "", 20_000), ("not ", "", 5000), ("1+", "", 5000), ("1**", "", 5000), ("lambda: ", "", 5000),
            ("abs(", ")", 150), ("k[", "]", 150),
        )
    ),
    *(
        refused(f"{count} × {piece.strip()}", "nesting", 3, body("return " + piece * count + "1" + close * count))
        for piece, close, count in (("1 if 1 else ", "", 1000), ("(1, ", ")", 150), ("{1: ", "}", 150), ("1 < (", ")", 150))
    ),
    refused("5000 attributes", "nesting", 1, body("return k" + ".x" * 5000)),
    refused("5000 subscripts", "nesting", 1, body("return k" + "[0]" * 5000)),
    refused("5000 calls", "nesting", 1, body("return k" + "()" * 5000)),
    refused("1000 elifs", "nesting", 1, body("if a:\n    return 1\n" + "elif a:\n    return 1\n" * 1000 + "return 2")),
    refused("101 indentations", "syntax", 102, body("\n".join("    " * i + "if a:" for i in range(101)) + "\n" + "    " * 101 + "pass")),
    refused("98 loops in one another", "nesting", 1, body(
        "\n".join("    " * i + "while a:" for i in range(98)) + "\n" + "    " * 98 + "a = ((((a + 1) + 1) + 1) + 1)\nreturn 1")),
    accepted("40 conditions in one another", body("\n".join("    " * i + "if a:" for i in range(40)) + "\n" + "    " * 40 + "a = 1\nreturn a")),
    accepted("3000 conditions in a row", body("return 1 if " + " and ".join(["a"] * 3000) + " else 0")),
    accepted("2000 comparisons in a row", body("return 1 if " + " <= ".join(["a"] * 2000) + " else 0")),
]  # fmt: skip

_HUGE = "0x" + "f" * 50_000

CONSTANTS = [
    refused_body("syntax", "return " + "9" * 5000),
    refused_body("constant", f"return {_HUGE}"),
    refused_body("constant", f"return -{_HUGE}"),
    refused_body("constant", f"return {_HUGE} + 1"),
    refused_body("constant", f"return {_HUGE} >> 400000"),
    refused_body("constant", f"return a & {_HUGE}"),
    refused_body("constant", f"return k[{_HUGE}]"),
    refused_body("constant", f"return k.u64({_HUGE})"),
    refused_body("constant", f"return len(k[{_HUGE}:])"),
    refused_body("constant", f"for i in range({_HUGE}):\n    pass\nreturn 1"),
    refused_body("constant", f"for i in range(0, 1, {_HUGE}):\n    pass\nreturn 1"),
    refused_body("constant", f"db.get({_HUGE}, 1)\nreturn 1"),
    refused_body("constant", f"db.get(1, {_HUGE})\nreturn 1"),
    refused_body("constant", f"db.put(1, 1, {_HUGE})\nreturn 1"),
    refused_body("constant", f"return 1 if a == {_HUGE} else 0"),
    refused_body("constant", "return 1 << (1 << 20)"),
    refused_body("constant", "return 1 << 127 << 127"),
    refused_body("constant", "return 1 << -1"),
    refused_body("constant", "return 0xFFFFFFFFFFFFFFFF * 0xFFFFFFFFFFFFFFFF * 0xFFFFFFFFFFFFFFFF"),
    refused_body("constant", "return 1 % 0"),
    refused_body("constant", "return -9223372036854775809"),
    refused_body("unsupported", "return 10 ** 100000"),
    refused_body("unsupported", "return 2 ** a"),
    refused_body("type", "return k * 1000000000"),
    refused_body("type", "return b'x' * 1000000000"),
    refused_body("type", "return len('x' * 1000000000)"),
    refused_body("key", "db.get(1, b'" + "x" * 256 + "')\nreturn 1"),
    refused_body("key", "db.get(1, b'')\nreturn 1"),
    refused_body("table", "db.get(65535, 1)\nreturn 1"),
    refused_body("table", "db.put(65280, 1, 1)\nreturn 1"),
    refused_body("table", "db.delete(-1, 1)\nreturn 1"),
    refused("constants that double", "constant", 2, "X0 = 1 << 100\nX1 = X0 * X0\nX2 = X1 * X1\n" + body("return X2")),
    gives(-(2**63), "return -9223372036854775808"),
    gives(-(2**63), "return -(1 << 63)"),
    gives(2**63 - 1, "return (1 << 64) - (1 << 63) - 1"),
    gives(60_000, "return len(b'" + "x" * 60_000 + "')", name="60,000 bytes in the code"),
]

CASES = [
    *SIZES, *CHARACTERS, *NESTING,
    *(Case(case.name[:60], case.source, case.expected, case.arguments) for case in CONSTANTS),
]  # fmt: skip

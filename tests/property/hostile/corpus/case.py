"""How a hostile program and its expected outcome are written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PARAMETERS = "db: Store, a: i64, b: u64, k: bytes"
ARGUMENTS: tuple[Any, ...] = (1, 2, b"key")  # a, b, k, unless a case brings its own


@dataclass(frozen=True)
class Refusal:
    """The compiler says no: one finding has this rule, on this line."""

    rule: str
    line: int


@dataclass(frozen=True)
class Failure:
    """The task ends with this :class:`splinter.ext.abi.ExtensionError`, on this line (of an endless one: any loop's)."""

    error: str
    line: int


@dataclass(frozen=True)
class Result:
    """The task answers this, whatever it tried."""

    value: Any


@dataclass(frozen=True)
class Case:
    """One program and what must come of it."""

    name: str
    source: str
    expected: Refusal | Failure | Result
    arguments: tuple[Any, ...] = ARGUMENTS
    is_endless: bool = False  # ends only by the limits on a task; under CPython there are none

    @property
    def used_arguments(self) -> tuple[Any, ...]:
        """The arguments that fit the source: some take none."""
        return self.arguments if "k: bytes" in self.source else ()

    def is_expected(self, got: Failure | Result) -> bool:
        """Whether a task that ended like this ended as it must."""
        if self.is_endless and isinstance(got, Failure):
            words = ("while", "for", "db.put")  # where a task looks at its budget
            lines = self.source.split("\n")
            loops = [number for number, line in enumerate(lines, 1) if any(word in line for word in words)]
            if "db.put" in self.source and got.error == "QUOTA":
                return True  # what one task may put ran out before its time did
            return got.error == "BUDGET" and (got.line in loops or "yield" in self.source)
        return got == self.expected


def body(text: str, result: str = "i64", parameters: str = PARAMETERS, *, is_long: bool = False) -> str:
    """An extension from the lines of its body, the first of which is line 3. ``is_long``: it is no transaction, since it reads
    or writes more than one may."""
    lines = "\n".join("    " + line for line in text.split("\n"))
    decorator = "@extension(isolation='none')" if is_long else "@extension"
    return f"{decorator}\ndef f({parameters}) -> {result}:\n{lines}\n"


def refused(name: str, rule: str, line: int, source: str) -> Case:
    """A whole source that is not accepted."""
    return Case(name, source, Refusal(rule, line))


def refused_body(rule: str, text: str, line: int = 3) -> Case:
    """A body that is not accepted, named by itself."""
    return Case(text, body(text), Refusal(rule, line))


def fails(
    error: str, line: int, text: str, *arguments: Any, result: str = "i64", name: str = "", is_long: bool = False
) -> Case:
    """A body that is accepted and ends with an error."""
    return Case(name or text, body(text, result, is_long=is_long), Failure(error, line), arguments or ARGUMENTS)


def gives(value: Any, text: str, *arguments: Any, result: str = "i64", name: str = "", is_long: bool = False) -> Case:
    """A body that is accepted and does no harm."""
    return Case(name or text, body(text, result, is_long=is_long), Result(value), arguments or ARGUMENTS)


def endless(text: str) -> Case:
    """A body that never ends by itself: the limits on a task do it."""
    return Case(text, body(text, is_long="db." in text), Failure("BUDGET", 0), is_endless=True)

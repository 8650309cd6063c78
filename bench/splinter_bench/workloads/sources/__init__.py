"""Extensions that only benchmarks need; all others come from :mod:`splinter.ext.library`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources


def source(name: str) -> str:
    """Text of the extension in the module of this name."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


def numbered(text: str, first: int, count: int) -> Iterator[str]:
    """The same source again and again, each one text that no cache knows."""
    return (f"{text}# {number}\n" for number in range(first, first + count))

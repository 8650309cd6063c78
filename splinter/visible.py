"""Foreign text as a terminal may show it.

What tenants, servers and packets say (names, log texts, messages, source lines) may hold escape sequences, links, commands
of eight-bit terminals, marks that turn the direction of writing, and line ends that make one message look like two. Whatever
is not a printable character is shown as the escape that Python would write for it.
"""

from __future__ import annotations

_KEPT = "\n\t"


def visible(text: str) -> str:
    """One line, with all that cannot be seen escaped."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def visible_lines(text: str) -> str:
    """The same, but lines and tabulators stay: for text that has lines of its own, such as a compiler's findings."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else _escaped(c) for c in text)


def visible_bytes(content: bytes) -> str:
    """As :func:`visible` of UTF-8; bytes that are none are escaped as well."""
    return visible(content.decode(errors="surrogateescape"))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that was no UTF-8
        character = chr(ord(character) - 0xDC00)
    return ascii(character)[1:-1]

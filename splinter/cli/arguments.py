"""Arguments of an extension, from the command line's texts to the types of its signature, and its result back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from splinter import limits
from splinter.errors import BadArgumentsError

if TYPE_CHECKING:
    from splinter.ext.signature import Signature

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_HEX, _FILE = "hex:", "@"


def parse(signature: Signature, texts: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments. ``NAME=VALUE`` names one when there is a parameter of this name.

    Raises :class:`BadArgumentsError`, with the signature in the message, for a text that is not of its parameter's type.
    """
    types = {name: str(kind) for name, kind in signature.parameters}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if equals and name in types:
            named[name] = _convert(rest, types[name], name, signature)
            continue
        if named:
            raise BadArgumentsError(f"positional argument {text!r} after a named one: {signature}")
        if len(positional) == len(types):
            raise BadArgumentsError(f"too many arguments: {signature}")
        name = list(types)[len(positional)]
        positional.append(_convert(text, types[name], name, signature))
    return positional, named


def _convert(text: str, kind: str, name: str, signature: Signature) -> Any:
    try:
        if kind == "bool":
            return _BOOLS[text.lower()]
        if kind.startswith("f"):
            return float(text)
        if kind != "bytes":
            return int(text, 0)
        if text.startswith(_HEX):
            return bytes.fromhex(text.removeprefix(_HEX))
        if text.startswith(_FILE):
            with Path(text.removeprefix(_FILE)).open("rb") as file:
                return file.read(limits.CONTROL_MESSAGE_BYTES_MAX)  # more than any argument
        return text.encode(errors="surrogateescape")
    except (ValueError, KeyError):
        raise BadArgumentsError(f"{name}={text!r} is not {kind}: {signature}") from None
    except OSError as error:
        raise BadArgumentsError(f"{name}={text!r}: {error.strerror}") from None


def show(result: Any) -> str:
    """A result as text: bytes as text where they are printable UTF-8, else as ``hex:…``."""
    if isinstance(result, bool):
        return str(result).lower()
    if isinstance(result, bytes | bytearray | memoryview):
        raw = bytes(result)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return _HEX + raw.hex()
        return text if text.isprintable() else _HEX + raw.hex()
    return str(result)

"""The error that ends an extension, as Python sees it."""

from __future__ import annotations

from splinter.errors import ExtensionRuntimeError
from splinter.ext.abi import ExtensionError, error_message


class ExtensionFault(ExtensionRuntimeError):
    """An extension run in this process ended with an error. ``error`` says which, ``line`` where (0: not known yet)."""

    def __init__(self, error: ExtensionError, name: str = "extension", line: int = 0, code: int = 0) -> None:
        self.error = error
        self.code = code  # of `raise Error(code)`, as an unsigned 64-bit word
        self.name = name
        self.line = line
        super().__init__(error_message(name, error, line))

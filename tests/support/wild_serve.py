"""``splinter serve`` with a compiler that is wrong: extensions named ``wild…`` return bytes at an address of nobody's.

So a worker dies of what an extension left, after the extension has ended: what no source that the compiler translates
rightly can do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from splinter.cli.main import main
from splinter.ext.abi import F_RESULT, F_RESULT_LENGTH
from splinter.ext.compile import CompiledExtension
from splinter.server.control import compiler

_NOWHERE, _BYTES = 8, 64
_WILD = (
    b"\x48\xc7\x47" + bytes([F_RESULT]) + _NOWHERE.to_bytes(4, "little")  # mov qword [rdi + result], NOWHERE
    + b"\xc7\x47" + bytes([F_RESULT_LENGTH]) + _BYTES.to_bytes(4, "little")  # mov dword [rdi + result_length], BYTES
    + b"\x31\xc0\xc3"  # xor eax, eax; ret: RESUME_DONE
)  # fmt: skip
_compile_extensions = compiler.compile_extensions


def _miscompile(*arguments: Any, **options: Any) -> list[CompiledExtension]:
    return [
        dataclasses.replace(one, code=_WILD, entry=0) if one.name.startswith("wild") else one
        for one in _compile_extensions(*arguments, **options)
    ]


if __name__ == "__main__":
    compiler.compile_extensions = _miscompile  # type: ignore[assignment]
    main()

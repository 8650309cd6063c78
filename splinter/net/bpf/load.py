"""Giving a program to the kernel, whose verifier refuses what it cannot prove harmless."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct

from splinter.errors import ServerError, TransportNotPermittedError
from splinter.net.bpf.elf import INSTRUCTION_BYTES, Code
from splinter.net.bpf.syscall import ATTACH_TYPE_XDP, NAME_BYTES_MAX, Command, bpf

_PROGRAM_TYPE_XDP = 6
_HAS_FRAGS = 1 << 5  # BPF_F_XDP_HAS_FRAGS
_LOG_BYTES = 1 << 20
_LOG_LEVEL = 1
_LICENSE = b"GPL"  # what the helpers that we call ask for
_UNPRIVILEGED = "loading an XDP program needs root (CAP_BPF and CAP_NET_ADMIN)"
_FUNC_INFO = struct.Struct("<II")  # instruction, type in the BTF


class BpfRefusedError(ServerError):
    """The kernel refused a program. ``log`` is what its verifier says, which is for those who write programs."""

    def __init__(self, name: str, error: OSError, log: str) -> None:
        self.log = log
        lines = log.strip().splitlines()
        reason = lines[-2] if len(lines) > 1 and lines[-1].startswith("processed ") else (lines or [""])[-1]
        super().__init__(f"the kernel refused the program {name}: {error.strerror}" + (f": {reason}" if reason else ""))


def load(code: Code, name: str, *, has_frags: bool = False) -> int:
    """Load an XDP program; returns its descriptor. ``has_frags``: it takes packets of several pages as well (Linux 5.18).

    Raises :class:`BpfRefusedError` with the kernel's reason and the verifier's log,
    :class:`~splinter.errors.TransportUnavailableError` without the privilege.
    """
    btf_fd = _load_btf(code.btf) if code.infos else -1
    try:
        return _load(code, name, btf_fd, has_frags=has_frags)
    except OSError as error:
        if error.errno == errno.EPERM:  # EACCES is the verifier's
            raise TransportNotPermittedError(_UNPRIVILEGED) from error
        log = ctypes.create_string_buffer(_LOG_BYTES)
        with contextlib.suppress(OSError):
            os.close(_load(code, name, btf_fd, log, has_frags=has_frags))  # again, for the log: without one verifying is faster
        raise BpfRefusedError(name, error, log.value.decode(errors="replace")) from error
    finally:
        if btf_fd >= 0:
            os.close(btf_fd)


def _load(
    code: Code, name: str, btf_fd: int, log: ctypes.Array[ctypes.c_char] | None = None, *, has_frags: bool = False
) -> int:
    text = ctypes.create_string_buffer(code.instructions, len(code.instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    infos = b"".join(_FUNC_INFO.pack(*info) for info in code.infos)
    info_buffer = ctypes.create_string_buffer(infos, max(1, len(infos)))
    log_bytes, log_at = (len(log), ctypes.addressof(log)) if log else (0, 0)
    head = struct.pack(
        "<2I2Q2IQ2I16s2I",
        _PROGRAM_TYPE_XDP, len(code.instructions) // INSTRUCTION_BYTES, ctypes.addressof(text), ctypes.addressof(license_text),
        _LOG_LEVEL if log else 0, log_bytes, log_at, 0, _HAS_FRAGS if has_frags else 0,
        name.encode()[:NAME_BYTES_MAX], 0, ATTACH_TYPE_XDP,
    )  # fmt: skip
    if code.infos:
        head += struct.pack("<2IQI", btf_fd, _FUNC_INFO.size, ctypes.addressof(info_buffer), len(code.infos))
    return bpf(Command.PROG_LOAD, head)[0]


def _load_btf(btf: bytes, log: ctypes.Array[ctypes.c_char] | None = None) -> int:
    data = ctypes.create_string_buffer(btf, len(btf))
    log_bytes, log_at = (len(log), ctypes.addressof(log)) if log else (0, 0)
    try:
        form = struct.pack("<2Q3I", ctypes.addressof(data), log_at, len(btf), log_bytes, _LOG_LEVEL if log else 0)
        return bpf(Command.BTF_LOAD, form)[0]
    except PermissionError as error:
        raise TransportNotPermittedError(_UNPRIVILEGED) from error
    except OSError as error:
        if log is None:
            return _load_btf(btf, ctypes.create_string_buffer(_LOG_BYTES))
        raise BpfRefusedError("'s types (BTF)", error, log.value.decode(errors="replace")) from error

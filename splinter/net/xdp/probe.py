"""Whether XDP can be used here."""

from __future__ import annotations

import mmap
import os
import platform
import socket
import sys

from splinter.errors import TransportUnavailableError
from splinter.net.afxdp.constants import AF_XDP
from splinter.net.bpf import Kind, maps, syscall
from splinter.net.bpf.clang import BPF_FOLDER, find_clang


def probe() -> str | None:
    """Why the XDP transport cannot be used on this machine by this process, as a sentence; None when it can."""
    if sys.platform != "linux" or sys.byteorder != "little" or platform.machine() not in syscall.NUMBERS:
        return f"XDP needs Linux on a little-endian machine of {', '.join(syscall.NUMBERS)}"
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except PermissionError:
        return "XDP needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF)"
    except OSError as error:
        return f"the kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS): {error.strerror}"
    try:
        os.close(maps.create(Kind.ARRAY, 4, mmap.PAGESIZE, 1, maps.MMAPABLE))
    except PermissionError:
        return "XDP needs root (CAP_BPF)"
    except OSError as error:
        return f"the kernel has no BPF maps that can be mapped (Linux 5.5): {error.strerror}"
    if not BPF_FOLDER.is_dir():
        return f"the sources of the XDP program are missing ({BPF_FOLDER}): install Splinter again"
    try:
        find_clang()
    except TransportUnavailableError as error:
        return str(error)
    return None

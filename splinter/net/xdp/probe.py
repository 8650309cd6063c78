"""Whether XDP can be used here."""

from __future__ import annotations

import mmap
import os
import platform
import socket
import sys

from splinter.errors import TransportNotPermittedError, TransportUnavailableError
from splinter.net.afxdp.constants import AF_XDP
from splinter.net.bpf import Kind, maps, syscall
from splinter.net.bpf.clang import BPF_FOLDER, find_clang


class Obstacle(str):
    """Why XDP cannot be used, as a sentence. ``is_privilege``: the machine could, and this process may not."""

    is_privilege = False

    def error(self, before: str = "") -> TransportUnavailableError:
        """What to raise of it, with some words before."""
        return (TransportNotPermittedError if self.is_privilege else TransportUnavailableError)(before + self)


class _Privilege(Obstacle):
    is_privilege = True


def probe() -> Obstacle | None:
    """Why the XDP transport cannot be used on this machine by this process; None when it can."""
    if sys.platform != "linux" or sys.byteorder != "little" or platform.machine() not in syscall.NUMBERS:
        return Obstacle(f"XDP needs Linux on a little-endian machine of {', '.join(syscall.NUMBERS)}")
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except PermissionError:
        return _Privilege("XDP needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF)")
    except OSError as error:
        return Obstacle(f"the kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS): {error.strerror}")
    try:
        os.close(maps.create(Kind.ARRAY, 4, mmap.PAGESIZE, 1, maps.MMAPABLE))
    except PermissionError:
        return _Privilege("XDP needs root (CAP_BPF)")
    except OSError as error:
        return Obstacle(f"the kernel has no BPF maps that can be mapped (Linux 5.5): {error.strerror}")
    if not BPF_FOLDER.is_dir():
        return Obstacle(f"the sources of the XDP program are missing ({BPF_FOLDER}): install Splinter again")
    try:
        find_clang()
    except TransportUnavailableError as error:
        return Obstacle(str(error))
    return None

"""What all our XDP programs have in common: compile, attach, detach, sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Self

from splinter.errors import ServerError
from splinter.net.xdp import attach, syscall
from splinter.net.xdp.compile import compile_program


class Program:
    """One program of ``bpf/``, compiled and loaded for one device of the current network namespace.

    All descriptors belong to this object; forked processes inherit them. A program that is still attached when the last
    of these processes ends is detached by the kernel.
    """

    def __init__(self, ifname: str, source: str, function: str, defines: Mapping[str, object], maps: Sequence[str]) -> None:
        self.ifname = ifname
        try:
            self.ifindex = socket.if_nametoindex(ifname)
        except OSError as error:
            raise ServerError(f"there is no network device {ifname!r} in this network namespace") from error
        compiled = compile_program(source, function, defines, maps)
        self.program_fd = compiled.program_fd
        self.number = syscall.program_number(compiled.program_fd)
        """What the kernel calls the program by."""
        self._map_fds = compiled.map_fds
        self._attachment: attach.Attachment | None = None

    def move(self, ifname: str, ifindex: int) -> None:
        """Be for another device from the next :meth:`attach` on, or the same under another name."""
        self.ifname, self.ifindex = ifname, ifindex

    def attach(self) -> attach.AttachMode:
        """Attach to the device; returns ``"native"``, or ``"generic"`` when the driver has no XDP (logged as a
        warning).

        Raises :class:`~splinter.errors.ServerError` when another program is attached to the device.
        """
        if self._attachment is None:
            self._attachment = attach.attach(self.program_fd, self.ifname, self.ifindex)
        return self._attachment.mode

    def detach(self) -> None:
        """Take the program off the device. No error when it is not attached."""
        if self._attachment is not None:
            attachment, self._attachment = self._attachment, None
            attachment.detach()

    def close(self) -> None:
        """Detach and close every descriptor of this process."""
        self.detach()
        if self.program_fd >= 0:
            os.close(self.program_fd)
            for fd in self._map_fds.values():
                os.close(fd)
            self.program_fd, self._map_fds = -1, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def link_fd(self) -> int | None:
        """Descriptor of the link that keeps the program attached; None when there is none."""
        return None if self._attachment is None else self._attachment.link_fd

    def map_fd(self, name: str) -> int:
        """Descriptor of a map. Raises ``KeyError`` when the program has none of this name."""
        return self._map_fds[name]

    def _set_socket(self, index: int, fd: int) -> None:
        syscall.update(self.map_fd("xsks"), index, fd.to_bytes(4, "little"))

    def _clear_socket(self, index: int) -> None:
        try:
            syscall.delete(self.map_fd("xsks"), index)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):  # was not there
                raise

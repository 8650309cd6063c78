"""What all our XDP programs have in common: maps, compiling, loading, attaching, sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Self

from splinter.errors import ServerError, TransportNotPermittedError
from splinter.net.bpf import MapForm, compile_c, link, load, maps, syscall
from splinter.net.xdp import attach
from splinter.net.xdp.attach import AttachMode

_TOO_LARGE = (errno.ENOMEM, errno.E2BIG)


class Program:
    """One program of ``bpf/``, compiled and loaded for one device of the current network namespace: the function of C called
    ``function``, over maps of these forms. Those that are ``given``, by name, stay the caller's; others are made.

    Raises :class:`~splinter.errors.TransportUnavailableError` when clang or privileges lack,
    :class:`~splinter.errors.ServerError` when the kernel refuses a map (most often for want of memory) or the program.

    All descriptors belong to this object; forked processes inherit them. A program that is still attached when the last
    of these processes ends is detached by the kernel.
    """

    def __init__(
        self, ifname: str, source: str, function: str, defines: Mapping[str, object], forms: Mapping[str, MapForm],
        given: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.ifname = ifname
        try:
            self.ifindex = socket.if_nametoindex(ifname)
        except OSError as error:
            raise ServerError(f"there is no network device {ifname!r} in this network namespace") from error
        self._forms = forms
        self._map_fds: dict[str, int] = {}
        try:
            for name, fd in (given or {}).items():
                self._map_fds[name] = os.dup(fd)
            for name, form in forms.items():
                if name not in self._map_fds:
                    self._map_fds[name] = _make(form, name)
            self.program_fd = self._load(source, function, defines)
        except BaseException:
            self._close_maps()
            raise
        self.number = syscall.program_number(self.program_fd)
        """What the kernel calls the program by."""
        self._attachment: attach.Attachment | None = None

    def _load(self, source: str, function: str, defines: Mapping[str, object]) -> int:
        """Compile and load over the maps; returns the program's descriptor."""
        return load(link(compile_c(source, defines), function, self._map_fds), function)

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

    def take_over(self, link_fd: int, mode: AttachMode) -> None:
        """Take the place of the program that a link has on our device, between two packets. The link is ours then.

        Raises :class:`OSError` when it cannot be; then nothing has changed."""
        syscall.update_link(link_fd, self.program_fd)
        self._attachment = attach.Attachment(mode, link_fd)

    def leave(self) -> None:
        """Close the link, which is pinned and so keeps the program on the device. No error when there is none."""
        if self._attachment is not None:
            os.close(self._attachment.link_fd)
            self._attachment = None

    def close(self) -> None:
        """Detach and close every descriptor of this process."""
        self.detach()
        if self.program_fd >= 0:
            os.close(self.program_fd)
            self.program_fd = -1
            self._close_maps()

    def _close_maps(self) -> None:
        while self._map_fds:
            os.close(self._map_fds.popitem()[1])

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

    def map_fds(self) -> dict[str, int]:
        """Descriptors of all maps, by name; they stay this object's."""
        return dict(self._map_fds)

    def map_bytes(self, name: str) -> int:
        """Bytes of the memory of a mapped array, whole pages. Raises ``KeyError`` when the program has none of this name."""
        return self._forms[name].mapped_bytes

    def _set_socket(self, index: int, fd: int) -> None:
        maps.update(self.map_fd("xsks"), index, fd.to_bytes(4, "little"))

    def _clear_socket(self, index: int) -> None:
        try:
            maps.delete(self.map_fd("xsks"), index)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):  # was not there
                raise


def _make(form: MapForm, name: str) -> int:
    try:
        return form.make(name)
    except PermissionError as error:
        raise TransportNotPermittedError("loading an XDP program needs root (CAP_BPF and CAP_NET_ADMIN)") from error
    except OSError as error:
        reason = "not enough memory, make the store smaller" if error.errno in _TOO_LARGE else error.strerror
        raise ServerError(f"the map {name} of {form.entries} x {form.value_bytes} bytes could not be made: {reason}") from error

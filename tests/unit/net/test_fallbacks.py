"""What happens where XDP is not to be had: reasons and messages, without needing such a machine."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from splinter.errors import ServerError, TransportNotPermittedError, TransportUnavailableError
from splinter.net import netns, xdp
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.bpf import clang, maps, syscall
from splinter.net.lab import Lab
from splinter.net.xdp import attach


def _fail(code: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


def test_missing_clang_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clang.os, "defpath", "")
    with pytest.raises(TransportUnavailableError, match="clang is missing: apt install clang-19"):
        clang.compile_c("echo.c", {"PORT": 7171})


@pytest.mark.parametrize("name", ["clang-16", "clang-18", "clang"])
def test_the_distribution_s_clang_will_do(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clang.os, "defpath", "")
    (tmp_path / name).touch(mode=0o755)
    assert clang.find_clang() == tmp_path / name


def test_a_path_without_clang_is_not_the_only_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clang-19").touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(clang.os, "defpath", str(tmp_path))
    assert clang.find_clang() == tmp_path / "clang-19"


def test_probe_says_that_clang_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(socket, "socket", Opened)
    monkeypatch.setattr(maps, "create", lambda *_: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clang.os, "defpath", "")
    assert xdp.probe() == "clang is missing: apt install clang-19"


def test_a_source_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clang, "BPF_FOLDER", tmp_path)
    with pytest.raises(TransportUnavailableError, match="install Splinter again"):
        clang.compile_c("echo.c", {})


class Opened:
    """A socket that can be had."""

    def __init__(self, *_: object) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(("code", "reason"), [(errno.EPERM, "root"), (errno.EAFNOSUPPORT, "CONFIG_XDP_SOCKETS")])
def test_probe_and_socket_tell_why_there_is_no_af_xdp(code: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", _fail(code))
    answer = xdp.probe()
    assert answer is not None and reason in answer
    kind = TransportNotPermittedError if code == errno.EPERM else TransportUnavailableError
    with pytest.raises(TransportUnavailableError, match=reason) as raised:
        XskSocket(Umem(1), "lo", 0)
    assert type(raised.value) is kind and type(answer.error("no XDP: ")) is kind


def test_probe_tells_when_bpf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Opened)
    monkeypatch.setattr(maps, "create", _fail(errno.EPERM))
    answer = xdp.probe()
    assert answer is not None and "CAP_BPF" in answer and answer.is_privilege


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EEXIST])
def test_occupied_device_says_what_to_do(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "link_xdp", _fail(code))
    monkeypatch.setattr(attach, "_RETRY_SECONDS", 0.0)
    with pytest.raises(ServerError, match="ip link set dev eth9 xdp off"):
        attach.attach(-1, "eth9", 9)


def test_attach_waits_for_the_link_of_a_dying_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([_fail(errno.EBUSY), _fail(errno.EBUSY), lambda *_: 123])
    monkeypatch.setattr(syscall, "link_xdp", lambda *arguments: next(answers)(*arguments))
    monkeypatch.setattr(attach, "_RETRY_INTERVAL_SECONDS", 0.0)
    attachment = attach.attach(-1, "eth9", 9)
    assert (attachment.mode, attachment.link_fd) == ("native", 123)


def test_generic_mode_is_the_fallback_and_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def only_generic(_program: int, _ifindex: int, flags: int) -> int:
        return 123 if flags == syscall.LINK_GENERIC else _fail(errno.EOPNOTSUPP)()

    monkeypatch.setattr(syscall, "link_xdp", only_generic)
    with caplog.at_level(logging.WARNING):
        attachment = attach.attach(-1, "eth9", 9)
    assert (attachment.mode, attachment.link_fd) == ("generic", 123)
    assert "generic mode, which is slower" in caplog.text


def test_detach_on_kernels_that_cannot_closes_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "detach_link", _fail(errno.EOPNOTSUPP))
    link = os.open(os.devnull, os.O_RDONLY)
    attach.Attachment("native", link).detach()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(link)


def test_no_mode_at_all_lists_the_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "link_xdp", _fail(errno.EOPNOTSUPP))
    with pytest.raises(TransportUnavailableError, match=r"native: .*; generic: "):
        attach.attach(-1, "eth9", 9)


def test_kernels_without_links_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "link_xdp", _fail(errno.EINVAL))
    with pytest.raises(TransportUnavailableError, match=r"no BPF links for XDP, Linux 5\.9"):
        attach.attach(-1, "eth9", 9)


def test_socket_refuses_sizes_and_modes_that_are_none() -> None:
    with pytest.raises(ValueError, match="tx_entries is a power of two"):
        XskSocket(Umem(1), "lo", 0, tx_entries=1000)
    with pytest.raises(ValueError, match="mode is one of"):
        XskSocket(Umem(1), "lo", 0, mode="fast")  # type: ignore[arg-type]


def test_unknown_device_and_namespace() -> None:
    with pytest.raises(ServerError, match="no network device 'nosuch0'"):
        XskSocket(Umem(1), "nosuch0", 0)
    with pytest.raises(ServerError, match="no network device 'nosuch0'"):
        xdp.RedirectProgram("nosuch0", 1, 7171)
    with pytest.raises(ServerError, match="no network namespace 'nosuch'"), netns.inside("nosuch"):
        pass


def test_lab_without_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    lab = Lab("nosuchlab")
    with pytest.raises(ServerError, match="needs root"):
        lab.up()
    with pytest.raises(ServerError, match="needs root"):
        lab.down()
    assert not lab.status().present
    with pytest.raises(ValueError, match="queues"):
        Lab(queues=0)

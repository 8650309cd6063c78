"""System calls that compiled code makes, by the C library's names (so that Numba can cache the callers).

``ExternalFunction`` makes the linker resolve the symbol, where a ctypes pointer would put an address of this process
into the cached code. All arguments are integers or addresses as ``int64``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, types

from splinter.native.atomics import load32

_int, _long = types.int32, types.int64
_Call = Callable[..., int]
_function: Any = types.ExternalFunction

_errno_location: _Call = _function("__errno_location", _long())
# ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t)
sendto: _Call = _function("sendto", _long(_int, _long, _long, _int, _long, _int))
# ssize_t recvfrom(int, void *, size_t, int, struct sockaddr *, socklen_t *)
recvfrom: _Call = _function("recvfrom", _long(_int, _long, _long, _int, _long, _long))
# int recvmmsg(int, struct mmsghdr *, unsigned, int, struct timespec *)
recvmmsg: _Call = _function("recvmmsg", _int(_int, _long, _int, _int, _long))
# int sendmmsg(int, struct mmsghdr *, unsigned, int)
sendmmsg: _Call = _function("sendmmsg", _int(_int, _long, _int, _int))
# int poll(struct pollfd *, nfds_t, int)
poll: _Call = _function("poll", _int(_long, _long, _int))
# int epoll_wait(int, struct epoll_event *, int, int)
epoll_wait: _Call = _function("epoll_wait", _int(_int, _long, _int, _int))
# int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)
ppoll: _Call = _function("ppoll", _int(_long, _long, _long, _long))
# ssize_t read(int, void *, size_t)
read: _Call = _function("read", _long(_int, _long, _long))
# ssize_t write(int, const void *, size_t)
write: _Call = _function("write", _long(_int, _long, _long))
# int memcmp(const void *, const void *, size_t)
memcmp: _Call = _function("memcmp", _int(_long, _long, _long))
# int clock_gettime(clockid_t, struct timespec *)
clock_gettime: _Call = _function("clock_gettime", _int(_int, _long))
# int sched_yield(void)
sched_yield: _Call = _function("sched_yield", _int())
# pid_t getpid(void)
getpid: _Call = _function("getpid", _int())
# int kill(pid_t, int)
kill: _Call = _function("kill", _int(_int, _int))

# ssize_t recv(int, void *, size_t, int)
recv: _Call = _function("recv", _long(_int, _long, _long, _int))
# ssize_t send(int, const void *, size_t, int)
send: _Call = _function("send", _long(_int, _long, _long, _int))
# int accept4(int, struct sockaddr *, socklen_t *, int)
accept4: _Call = _function("accept4", _int(_int, _long, _long, _int))
# int close(int)
close: _Call = _function("close", _int(_int))
# int epoll_ctl(int, int, int, struct epoll_event *)
epoll_ctl: _Call = _function("epoll_ctl", _int(_int, _int, _int, _long))
# void *malloc(size_t), void *realloc(void *, size_t), void free(void *)
malloc: _Call = _function("malloc", _long(_long))
realloc: _Call = _function("realloc", _long(_long, _long))
free: _Call = _function("free", types.void(_long))
# double strtod(const char *, char **), char *gcvt(double, int, char *)
strtod: Callable[[int, int], float] = _function("strtod", types.float64(_long, _long))
gcvt: Callable[[float, int, int], int] = _function("gcvt", _long(types.float64, _int, _long))

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
MSG_DONTWAIT = 0x40
MSG_NOSIGNAL = 0x4000
SOCK_NONBLOCK, SOCK_CLOEXEC = 0o4000, 0o2000000
EAGAIN, EBUSY, ENOBUFS, EINTR, EMFILE, ENFILE = 11, 16, 105, 4, 24, 23


@njit(inline="always")
def errno() -> int:
    """The calling thread's ``errno``."""
    return load32(_errno_location())

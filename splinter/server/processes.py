"""Forked children of the supervisor, by itself or on its behalf, and of the control process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import platform
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_MILLISECONDS = 1000
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_TIMERSLACK = 29
_SLACK_NS_MIN = 1
_CLONE_PARENT = 0x8000
_WATCH_PRIORITY = 2  # SCHED_FIFO; above spares that start
_WATCH_NICENESS = -10  # where that is not permitted
_URGENT_PRIORITY = 1  # SCHED_FIFO, below the watchdog's
_HURRY_NICENESS = -15
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_PF_EXITING = 0x4  # linux/sched.h
_STAT_STATE, _STAT_FLAGS, _STAT_EXIT_CODE = 0, 6, 49  # fields of /proc/<pid>/stat behind the name
_SIGNAL_MASK = 0x7F  # of an exit code, as waitpid tells it
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS)
_CODE_LOOKS, _CODE_LOOK_SECONDS = 50, 0.0001  # for an exit code
_DEFAULT_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM)
# Of a terminal, or of whoever takes a child for the server: they reach the whole group, and the supervisor decides.
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_PARENT_DIED = signal.SIGRTMIN  # nobody else sends it
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_OOM_MIN, _OOM_MAX = -1000, 1000
_OOM_PROTECTION = 500  # of the supervisor
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_python = ctypes.pythonapi
_python_syscall = ctypes.PyDLL(None).syscall  # keeps the interpreter's lock, which the child has then as well
_python_syscall.restype = ctypes.c_long
_python_syscall.argtypes = [ctypes.c_long] * 6


def is_readable(descriptor: int, seconds: float = 0.0) -> bool:
    """Whether a descriptor, of any number, is readable, or becomes so in time; a pidfd is when its process has ended."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * _MILLISECONDS))


def name_process(name: str) -> None:
    """What ``ps`` and ``top`` call this process, at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def sleep_precisely() -> None:
    """Have the kernel end the calling thread's sleeps on time; by default it takes up to 50 µs more."""
    _libc.prctl(_PR_SET_TIMERSLACK, _SLACK_NS_MIN, 0, 0, 0)


def die_in_order(seconds: int) -> None:
    """Have this child outlive its parent by some seconds, where :func:`fork_child` has it killed at once."""
    signal.signal(_PARENT_DIED, lambda *_: signal.alarm(seconds))
    _libc.prctl(_PR_SET_PDEATHSIG, _PARENT_DIED, 0, 0, 0)


class OomPreference:
    """Whom the kernel ends when memory runs out: of a server's processes the supervisor last, as it replaces all others.

    Each says how much sooner than an ordinary process it may go; what a process asks for, its children inherit.
    """

    ordinary = 0  # what this server was started with

    @classmethod
    def protect(cls) -> None:
        """For the supervisor: as far as it is permitted (CAP_SYS_RESOURCE)."""
        with contextlib.suppress(OSError, ValueError):
            cls.ordinary = int(_OOM_SCORE.read_text())
            _OOM_SCORE.write_text(str(max(_OOM_MIN, cls.ordinary - _OOM_PROTECTION)))

    @classmethod
    def offer(cls, points: int) -> None:
        """For all others: ``points`` above ordinary, each worth a thousandth of the machine's memory."""
        with contextlib.suppress(OSError):
            _OOM_SCORE.write_text(str(min(_OOM_MAX, cls.ordinary + points)))


def keep_loaded() -> None:
    """Have what is loaded stay where it is: children share these pages, so the collector must not write into them.

    From now on it collects, which the program's beginning put off.
    """
    gc.freeze()
    gc.enable()


def fork_child(name: str, main: Callable[[], None]) -> tuple[int, int]:
    """Fork a process that runs ``main`` and exits; returns its pid and a descriptor that becomes readable when it ends.

    The child dies with its parent and has the default signal actions.
    """
    pid = _fork(os.getpid(), os.fork, name, main)
    return pid, os.pidfd_open(pid)


def fork_sibling(name: str, main: Callable[[], None]) -> int:
    """Fork a process that is a child of this one's parent, which may wait for it; returns its pid.

    So a process can fork on behalf of its parent while that one does something else.
    """
    return _fork(os.getppid(), _clone_sibling, name, main)


def be_urgent() -> None:
    """Have this process run before all ordinary ones, where it may; its children are ordinary again."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_URGENT_PRIORITY))


def be_ordinary() -> None:
    """End what :func:`be_urgent` or the parent's :func:`hurry` began."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def come_first() -> None:
    """Have this process scheduled before all ordinary ones, as far as it may; children are ordinary again.

    It works for some microseconds every few milliseconds, but then it must: also on a busy machine.
    """
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(_WATCH_PRIORITY))
    except OSError:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, 0, _WATCH_NICENESS)


def hurry(pid: int, *, is_urgent: bool) -> None:
    """Give a child a larger share of a busy machine for as long as it is urgent, where that is permitted."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _HURRY_NICENESS if is_urgent else 0)


def is_past_user_code(pid: int) -> bool:
    """Whether a child of this process executes nothing of its program any more: it has ended, or is about to.

    The kernel says so (PF_EXITING) before it takes the process's memory apart, which for a large store takes tens of
    milliseconds, and so long before the process's pidfd is readable.
    """
    state, flags = _stat(pid)
    return state == "Z" or bool(flags & _PF_EXITING)


def is_fault(number: int) -> bool:
    """Whether a signal is what the kernel sends a process for a fault of its own."""
    return number in _FAULTS


def has_crashed(pid: int) -> bool:
    """Whether a child that is past its program died of a fault of its own, such as SIGSEGV, and not of a signal sent to it.

    (Who sends it such a signal is not told from a fault.)
    """
    for _ in range(_CODE_LOOKS):  # some kernels set it a moment after the flag that is_past_user_code() goes by
        fields = _stat_fields(pid)
        code = int(fields[_STAT_EXIT_CODE])
        if code or fields[_STAT_STATE] == b"Z":
            return is_fault(code & _SIGNAL_MASK)
        time.sleep(_CODE_LOOK_SECONDS)
    return False


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal or a debugger."""
    return _stat(pid)[0] in ("T", "t")


def _stat(pid: int) -> tuple[str, int]:
    fields = _stat_fields(pid)
    return fields[_STAT_STATE].decode(), int(fields[_STAT_FLAGS])


def _stat_fields(pid: int) -> list[bytes]:
    with Path(f"/proc/{pid}/stat").open("rb", buffering=0) as file:
        return file.read().rpartition(b")")[2].split()


def cpu_ns(pid: int) -> int:
    """CPU time that a process has used so far, to the nanosecond."""
    return time.clock_gettime_ns(~pid << 3 | 2)  # the kernel's number for CPUCLOCK_SCHED of a process


def _clone_sibling() -> int:
    """``os.fork``, but the child's parent is the caller's."""
    _python.PyOS_BeforeFork()
    number = _SYS_CLONE[platform.machine()]
    pid = int(_python_syscall(number, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
    else:
        _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError("clone failed")
    return pid


def _fork(parent: int, fork: Callable[[], int], name: str, main: Callable[[], None]) -> int:
    """``parent`` is whose child the new process will be.

    Signals wait until the child has actions of its own: those that it begins with write into the parent's descriptor
    (``signal.set_wakeup_fd``), and the parent would take what was sent to the child for its own.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = fork()
        if pid == 0:
            _be_child(parent, name, main)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _be_child(parent: int, name: str, main: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for number in _GROUP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl
            os._exit(1)
        name_process(name)
        main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def keep_shared_memory() -> None:
    """From now on, children of this process get none of the mappings that it shares with others."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, permissions, *_ = line.split()
        if permissions.endswith("s"):
            start, end = (int(number, 16) for number in place.split("-"))
            if _libc.madvise(start, end - start, mmap.MADV_DONTFORK) != 0:
                raise OSError(ctypes.get_errno(), f"cannot keep the mapping {place} from children")


def wait_or_kill(pid: int, pidfd: int, deadline: float) -> None:
    """Reap a child; one that has not ended by ``deadline`` (monotonic seconds) is killed."""
    if not is_readable(pidfd, max(0.0, deadline - time.monotonic())):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    reap(pid, pidfd)


def kill(pid: int, pidfd: int) -> int:
    """End a child, whatever it does, and reap it; returns as :func:`reap`."""
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    return reap(pid, pidfd)


def reap(pid: int, pidfd: int) -> int:
    """Wait for a child's end, and close its descriptor; returns its exit status, negative for a signal."""
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

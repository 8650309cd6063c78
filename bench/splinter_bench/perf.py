"""Where processes spend their time, by perf: samples of a clock, with the kernel's call chain of each.

Virtual machines seldom have hardware counters; perf's software clock works in all. Its interrupt waits while the kernel has
interrupts off: such time shows at the function that turns them on again. Of user code only the function itself is told, not
its callers, since compiled loops keep no frame pointers; :mod:`splinter.native.perf_map` names it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from splinter.errors import SplinterError
from splinter.native.perf_map import PerfMap

KERNEL, USER = "kernel", "user"
EXTENSION = "extension"  # machine code that was installed
_EVENT = "cpu-clock"
FREQUENCY = 4999  # samples a second; no multiple of anything that happens regularly
_READY_SECONDS_MAX = 5.0
_READ_SECONDS_MAX = 120.0
_KERNEL_SHIFT = 63  # the highest bit of an address tells the kernel's from the others
_CODE_REGION = "splinter-code"  # the memfd of installed code
_FRAME = re.compile(r"\s+([0-9a-f]+) (.+?) \((.*)\)$")  # address, symbol, file, which may have brackets of its own
_PACKAGES = "perf needs Debian's linux-perf, or Ubuntu's linux-tools"

Samples = dict[int, Counter[tuple[str, ...]]]  # by process: how often each stack, from the root


def missing() -> str | None:
    """Why perf cannot be used here, in a sentence; None: it works."""
    perf = shutil.which("perf")
    if perf is None:
        return f"there is no perf: {_PACKAGES}"
    with tempfile.TemporaryDirectory() as folder:
        command = [perf, "record", "-q", "-e", _EVENT, "-o", f"{folder}/data", "--", "true"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_READ_SECONDS_MAX)
    if ran.returncode == 0:
        return None
    said = (ran.stderr.strip().splitlines() or [f"it ended with status {ran.returncode}"])[0]
    return f"perf does not work here: {said}"


@contextlib.contextmanager
def recording(pids: Sequence[int], names: PerfMap) -> Generator[Samples]:
    """Sample these processes until the block is left; what is yielded has the samples then.

    Raises :class:`SplinterError` when perf fails.
    """
    samples: Samples = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        data = Path(folder, "data")
        command = ["perf", "record", "-q", "-e", _EVENT, "-F", str(FREQUENCY), "-g", "-o", str(data)]
        command += ["-p", ",".join(str(pid) for pid in pids)]
        perf = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_until_it_samples(perf, data)
            yield samples
        finally:
            perf.send_signal(signal.SIGINT)
            try:
                perf.wait(_READ_SECONDS_MAX)
            finally:
                perf.kill()
                perf.wait()
        log.seek(0)
        if not data.exists():
            raise SplinterError(f"perf recorded nothing: {log.read().strip()}")
        command = ["perf", "script", "-i", str(data), "-F", "pid,ip,sym,dso", "--no-inline"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_READ_SECONDS_MAX)
    if ran.returncode != 0:
        raise SplinterError(f"perf cannot read what it recorded: {ran.stderr.strip()}")
    samples.update(parse(ran.stdout, names))


def _wait_until_it_samples(perf: subprocess.Popen[bytes], data: Path) -> None:
    """perf writes the file's head once its events are open."""
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while time.monotonic() < deadline and perf.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if data.stat().st_size > 0:
                return
        time.sleep(0.01)
    raise SplinterError("perf did not begin to sample")


def parse(text: str, names: PerfMap) -> Samples:
    """What ``perf script -F pid,ip,sym,dso`` prints: a line with the pid, frames from the leaf to the root, an empty line."""
    samples: Samples = {}
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if not lines:
            continue
        frames = [match.groups() for match in map(_FRAME.match, lines[1:]) if match]
        if not frames:
            continue
        kernel = [symbol for address, symbol, _ in frames if int(address, 16) >> _KERNEL_SHIFT]
        if kernel:
            stack: tuple[str, ...] = (KERNEL, *reversed(kernel))
        else:
            address, symbol, file = frames[0]
            stack = (USER, EXTENSION if _CODE_REGION in file else names.name(int(address, 16)) or _library(symbol, file))
        samples.setdefault(int(lines[0]), Counter())[stack] += 1
    return samples


def _library(symbol: str, file: str) -> str:
    return symbol if symbol != "[unknown]" else f"[{Path(file).name}]"


def fold(stacks: Mapping[tuple[str, ...], float], path: Path) -> None:
    """Write what flame graph viewers read: a line for each stack, frames separated by semicolons; the value times 1,000.

    A stack goes from the root to the leaf; its value is its own part. Raises :class:`SplinterError` when no stack has
    time, or the file cannot be written.
    """
    if sum(stacks.values()) <= 0:
        raise SplinterError("folded stacks need at least one sample")
    lines = (f"{';'.join(stack)} {round(value * 1000)}\n" for stack, value in sorted(stacks.items()))
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise SplinterError(f"{path}: {error.strerror}") from error

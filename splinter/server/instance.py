"""What a running server keeps on disk for commands on the same host: where it answers, the administrator's credential.

``<run dir>/server.json`` says where the server is; ``admin.key`` holds the credential and only its owner can read it;
``lock`` is locked as long as a process of the server lives, so a stale folder is told from a live one without guessing. The
lock is one of an open file description (fcntl(2), F_OFD_SETLK): forked workers have it, too, and who only wants to know
whether it is held asks the kernel. A look that took the lock for a moment would refuse a server that starts just then.

Commands send tokens and values to whatever ``server.json`` names, so all this is believed only where nobody but this user
and root can have written it (:mod:`splinter.trust`): in a temporary folder another user may have come first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from splinter.errors import ConfigurationError, InUseError, NoServerError, NotPermittedError, ServerError
from splinter.trust import distrust

_STATE, _KEY, _LOCK = "server.json", "admin.key", "lock"
_STATE_NEW = _STATE + ".new"
_DYING_SECONDS_MAX = 5.0  # until the processes of a server that was killed are gone: taking a large store apart takes some
_DYING_POLL_SECONDS = 0.01
_FLOCK = struct.Struct("hhqqi")  # struct flock: type, whence, start, length (0: to the end), process
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class InstanceInfo:
    """Where a server answers. ``cores`` are CPU numbers by core slot; ``netns`` names are None for the host's own."""

    instance: str
    pid: int
    transport: str
    transport_reason: str
    address: str
    port: int
    netns: str | None
    client_netns: str | None
    device: str | None
    xdp_mode: str | None
    queues: int
    cores: tuple[int, ...]
    memory_bytes: int
    version: str
    metrics: str | None = None
    """Where the OpenMetrics endpoint is, a URL."""
    redis_port: int | None = None
    """TCP port of the Redis protocol, at ``address``."""
    trouble: str | None = None
    """Why no request comes in at present."""


def run_root() -> Path:
    """Folder of all instances: ``$SPLINTER_RUN_DIR``, ``/run/splinter`` for root, else one that belongs to the user."""
    if chosen := os.environ.get("SPLINTER_RUN_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/run/splinter")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "splinter"
    return Path(tempfile.gettempdir()) / f"splinter-{os.geteuid()}"


def check_name(instance: str) -> None:
    """Raise :class:`ConfigurationError` for what cannot name an instance; so a name is never a way to another folder."""
    if not _NAME.fullmatch(instance):
        raise ConfigurationError(
            f"instance name {instance!r}: letters, digits, '_', '.', '-', at most 32, a letter or digit first"
        )


def run_dir(instance: str) -> Path:
    """Folder of one instance."""
    check_name(instance)
    return run_root() / instance


def read(instance: str = "default") -> InstanceInfo:
    """What the running server of this name said of itself. Raises :class:`ServerError` when none runs, or others may lie."""
    folder = run_dir(instance)
    with _explained(instance):
        _believe(instance, folder)
        _believe(instance, folder / _LOCK)
        if not _is_locked(folder):
            raise FileNotFoundError
        _believe(instance, folder / _STATE)
        text = (folder / _STATE).read_bytes()
    try:
        fields = json.loads(text)
        info = InstanceInfo(**{**fields, "cores": tuple(fields["cores"])})
        if not isinstance(info.address, str) or type(info.port) is not int:
            raise ValueError
        return info
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ServerError(f"{folder / _STATE} is damaged: restart the server") from None


def credential(instance: str = "default") -> str:
    """The administration credential of an instance; only the server's owner can read it."""
    path = run_dir(instance) / _KEY
    with _explained(instance):
        _believe(instance, path, is_secret=True)
        return path.read_bytes().decode(errors="replace").strip()


@contextlib.contextmanager
def _explained(instance: str) -> Iterator[None]:
    """What the file system says about a folder of an instance, as sentences."""
    try:
        yield
    except FileNotFoundError:
        raise NoServerError(f"no server of instance {instance!r} runs here: start one with 'splinter serve'") from None
    except PermissionError:
        raise NotPermittedError(f"instance {instance!r} belongs to another user: only its owner may administer it") from None
    except OSError as error:
        raise ServerError(f"the run folder of instance {instance!r}: {error.strerror}: {error.filename}") from None


def _believe(instance: str, path: Path, *, is_secret: bool = False) -> None:
    reason = distrust(path, is_secret=is_secret)
    if reason is not None:
        hint = "SPLINTER_RUN_DIR names another run folder"
        raise ServerError(f"nothing is believed of instance {instance!r}, as {reason} ({hint})")


def is_running(instance: str) -> bool:
    """Whether a process of a server of this name lives."""
    try:
        return _is_locked(run_dir(instance))
    except OSError:
        return False


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb") as file:
            in_the_way = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    except PermissionError:
        return True  # another's: only who may start this server may hold its lock, so whether it runs is not told
    return bool(_FLOCK.unpack(in_the_way)[0] != fcntl.F_UNLCK)


class InstanceFolder:
    """The server's own side: taken at start, removed at exit. Raises :class:`ServerError` when the name is in use."""

    def __init__(self, instance: str) -> None:
        self.folder = run_dir(instance)
        self.credential = secrets.token_hex(32)
        try:
            self.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = self._take_lock()
        except OSError as error:
            raise self._failed(error) from error
        try:
            for name in (_STATE, _STATE_NEW, _KEY):  # what a crash may have left
                (self.folder / name).unlink(missing_ok=True)
            self._write(_KEY, self.credential + "\n", 0o600)
        except OSError as error:
            self.remove()
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ServerError:
        where = error.filename or self.folder
        kind = NotPermittedError if isinstance(error, PermissionError) else ServerError
        return kind(f"the run folder cannot be used: {error.strerror}: {where}; SPLINTER_RUN_DIR names another one")

    def _take_lock(self) -> int:
        deadline = time.monotonic() + _DYING_SECONDS_MAX
        while True:
            self.folder.mkdir(mode=0o755, exist_ok=True)
            if reason := distrust(self.folder):
                raise ServerError(f"{reason}; a run folder must be the server's own: set SPLINTER_RUN_DIR to another")
            # Nobody else may open it: a lock can be taken by whoever can read the file.
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
                # A server that just stopped may have removed this very file between open and lock: then try again.
                if os.path.samestat(os.fstat(descriptor), (self.folder / _LOCK).stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                if self._is_dying() and time.monotonic() < deadline:
                    time.sleep(_DYING_POLL_SECONDS)
                    continue
                raise InUseError(
                    f"a server of instance {self.folder.name!r} is running already: stop it or choose another one"
                ) from None
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def _is_dying(self) -> bool:
        """Whether the supervisor that has the name was killed: its workers end now, and keep the lock until they have."""
        try:
            pid = int(json.loads((self.folder / _STATE).read_bytes())["pid"])
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return (self.folder / _STATE).exists()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
        return state in ("Z", "X")

    def _write(self, name: str, text: str, mode: int) -> None:
        """A new file, with this very mode whatever the umask is."""
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)

    def publish(self, info: InstanceInfo) -> None:
        """Say where the server answers; readers see all of it or nothing. Raises :class:`ServerError` when that fails."""
        try:
            (self.folder / _STATE_NEW).unlink(missing_ok=True)  # of a time when the disk was full
            self._write(_STATE_NEW, json.dumps(asdict(info), indent=1) + "\n", 0o644)
            (self.folder / _STATE_NEW).rename(self.folder / _STATE)
        except OSError as error:
            raise self._failed(error) from error

    def remove(self) -> None:
        """Take the folder away; the lock goes with the descriptor."""
        for name in (_STATE, _STATE_NEW, _KEY, _LOCK):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        os.close(self._lock)

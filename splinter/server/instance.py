"""What a running server keeps on disk for commands on the same host: where it answers, the administrator's credential.

``<run dir>/server.json`` says where the server is; ``admin.key`` holds the credential and only its owner can read it;
``lock`` is held (flock) as long as the server lives, so a stale folder is told from a live one without guessing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from splinter.errors import ServerError

_STATE, _KEY, _LOCK = "server.json", "admin.key", "lock"


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


def run_root() -> Path:
    """Folder of all instances: ``$SPLINTER_RUN_DIR``, ``/run/splinter`` for root, else one that belongs to the user."""
    if chosen := os.environ.get("SPLINTER_RUN_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/run/splinter")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "splinter"
    return Path(tempfile.gettempdir()) / f"splinter-{os.geteuid()}"


def run_dir(instance: str) -> Path:
    """Folder of one instance."""
    return run_root() / instance


def read(instance: str = "default") -> InstanceInfo:
    """What the running server of this name said of itself. Raises :class:`ServerError` when none runs."""
    folder = run_dir(instance)
    try:
        if not _is_locked(folder):
            raise FileNotFoundError
        fields = json.loads((folder / _STATE).read_text())
        return InstanceInfo(**{**fields, "cores": tuple(fields["cores"])})
    except FileNotFoundError:
        raise ServerError(f"no server of instance {instance!r} runs here: start one with 'splinter serve'") from None
    except PermissionError:
        raise ServerError(f"instance {instance!r} belongs to another user") from None
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"{folder / _STATE} is damaged: restart the server") from None


def credential(instance: str = "default") -> str:
    """The administration credential of an instance; only the server's owner can read it."""
    path = run_dir(instance) / _KEY
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ServerError(f"no server of instance {instance!r} runs here: start one with 'splinter serve'") from None
    except PermissionError:
        raise ServerError(f"{path}: only the server's owner may administer instance {instance!r}") from None


def _is_locked(folder: Path) -> bool:
    with (folder / _LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class InstanceFolder:
    """The server's own side: taken at start, removed at exit. Raises :class:`ServerError` when the name is in use."""

    def __init__(self, instance: str) -> None:
        self.folder = run_dir(instance)
        # The parent is made private too: in a world-writable /tmp nobody else may prepare it.
        self.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self.folder.parent.stat().st_uid != os.geteuid():
            raise ServerError(f"{self.folder.parent} belongs to another user: set SPLINTER_RUN_DIR to one of yours")
        self._lock = self._take_lock()
        for name in (_STATE, _KEY):  # what a crash may have left
            (self.folder / name).unlink(missing_ok=True)
        self.credential = secrets.token_hex(32)
        descriptor = os.open(self.folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.credential + "\n")

    def _take_lock(self) -> int:
        while True:
            self.folder.mkdir(mode=0o755, exist_ok=True)
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A server that just stopped may have removed this very file between open and flock: then try again.
                if os.path.samestat(os.fstat(descriptor), (self.folder / _LOCK).stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise ServerError(
                    f"a server of instance {self.folder.name!r} is running already: stop it or choose another one"
                ) from None
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def publish(self, info: InstanceInfo) -> None:
        """Say where the server answers; readers see all of it or nothing."""
        temporary = self.folder / (_STATE + ".new")
        temporary.write_text(json.dumps(asdict(info), indent=1) + "\n")
        temporary.rename(self.folder / _STATE)

    def remove(self) -> None:
        """Take the folder away; the lock goes with the descriptor."""
        for name in (_STATE, _KEY, _LOCK):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        os.close(self._lock)

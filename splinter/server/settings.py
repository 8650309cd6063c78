"""Settings that a running server takes from its configuration file anew, at SIGHUP.

The supervisor alone reads the file. What it may change it puts into memory that all processes share, whole, under a number;
control process and log process look at that number often. A process that is forked later has the settings of its parent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from splinter.errors import ConfigurationError
from splinter.server import logs
from splinter.server.config import ServerConfig
from splinter.store.region import Region
from splinter.worker.memory import WorkerMemory

_OF_WORKERS = (  # fields of their blocks, which they read when they need them
    "task_budget", "task_yields_max", "task_milliseconds_max", "task_wall_milliseconds_max", "idle_spin_ns", "quarantine_after",
)  # fmt: skip
CHANGEABLE = (*_OF_WORKERS, "balance", "code_bytes_per_tenant", "durability", "keep_store", "log_level")
_CONTENT_BYTES = 4096
# Writer: the supervisor. ``number`` is odd while it writes the rest.
_SHARED = np.dtype([("number", "<u8"), ("bytes", "<u8"), ("content", "u1", _CONTENT_BYTES)])


@dataclass(frozen=True)
class Source:
    """Where the settings of a server come from: its file, None: there is none, and how to read that anew."""

    path: Path | None
    load: Callable[[], ServerConfig]


class SharedSettings:
    """The latest settings; made before the processes that share them are forked."""

    def __init__(self) -> None:
        self._region = Region.create("splinter-settings", _SHARED.itemsize)
        self._record = self._region.array(_SHARED, 1)[0]
        self._seen = 0

    def publish(self, values: dict[str, Any]) -> None:
        """In the supervisor: have the others see these."""
        content = json.dumps(values).encode()
        number = int(self._record["number"])
        self._record["number"] = number + 1
        self._record["bytes"] = len(content)
        self._record["content"][: len(content)] = np.frombuffer(content, np.uint8)
        self._record["number"] = self._seen = number + 2

    def take(self, config: ServerConfig) -> bool:
        """Put what was published since into a process's own ``config``; whether there was anything."""
        number = int(self._record["number"])
        if number == self._seen or number % 2:
            return False
        content = self._record["content"][: int(self._record["bytes"])].tobytes()
        if int(self._record["number"]) != number:
            return False  # it is being written; the next look finds it
        self._seen = number
        apply(config, json.loads(content))
        return True


def apply(config: ServerConfig, values: dict[str, Any]) -> None:
    """Change settings of this process."""
    for name, value in values.items():
        setattr(config, name, value)
    if "log_level" in values:
        logs.set_level(config.log_level)


class Reload:
    """Reads the file anew for the supervisor, and changes what can be changed in all processes."""

    def __init__(self, config: ServerConfig, source: Source, shared: SharedSettings) -> None:
        self._config, self._source, self._shared = config, source, shared
        self._loaded = replace(config)  # what the file said last, as far as it holds

    def run(self, workers: list[WorkerMemory]) -> None:
        """Do it, and tell in the log what came of it, whatever its level. A file that is wrong changes nothing."""
        path = self._source.path
        if path is None:
            logs.AUDIT.warning("SIGHUP: there is no configuration file to read: the server was started without --config")
            return
        try:
            if not path.is_file():
                raise ConfigurationError(f"{path} is no file that can be read again")
            new = self._source.load()
        except (ConfigurationError, OSError) as error:
            logs.AUDIT.warning("SIGHUP: no setting was changed: %s", error)
            return
        differing = [each.name for each in fields(new) if getattr(new, each.name) != getattr(self._loaded, each.name)]
        values = {name: getattr(new, name) for name in differing if name in CHANGEABLE}
        apply(self._loaded, values)
        apply(self._config, values)
        for name in set(values) & set(_OF_WORKERS):
            for worker in workers:
                worker.block[0][name] = values[name]
        if values:
            self._shared.publish({name: getattr(self._loaded, name) for name in CHANGEABLE})
        told = ", ".join(f"{name} = {_shown(value)}" for name, value in values.items()) or "nothing that can change differs"
        logs.AUDIT.warning("SIGHUP: %s was read again: %s", path, told)
        if stuck := [name for name in differing if name not in CHANGEABLE]:
            logs.AUDIT.warning("SIGHUP: these hold from the next start on: %s", ", ".join(stuck))


def _shown(value: Any) -> str:
    return json.dumps(value)

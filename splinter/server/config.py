"""What an operator may set: defaults from :mod:`splinter.limits`, then a TOML file, then the command line."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splinter import limits
from splinter.errors import ServerError

TRANSPORTS = ("auto", "xdp", "udp")
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def parse_bytes(text: str | int) -> int:
    """``"1GiB"``, ``"64 MiB"`` or a plain number, as bytes. Raises :class:`ServerError` for anything else."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise ServerError(f"{text!r} is not a size: write for example 512MiB or 2GiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def parse_cores(text: str) -> tuple[int, ...]:
    """``"0,2-3"`` as (0, 2, 3)."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ServerError(f"{text!r} is not a list of cores: write for example 0,1 or 0-3")
        first = int(match[1])
        cores.extend(range(first, int(match[2] or first) + 1))
    if len(set(cores)) != len(cores):
        raise ServerError(f"{text!r} names a core twice")
    return tuple(cores)


def _available_cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


def _setting_type(setting: dataclasses.Field[Any]) -> type:
    text = str(setting.type)
    return bool if text == "bool" else int if "int" in text else str


@dataclass
class ServerConfig:
    """Settings of one server. ``cores`` are CPU numbers; core slot *i* (a tenant's home) is ``cores[i]``."""

    instance: str = "default"
    transport: str = "auto"
    device: str | None = None  # network device for XDP
    address: str | None = None  # IPv4 address to serve; with XDP the device's own by default, else 127.0.0.1
    port: int = limits.PORT_DEFAULT
    cores: tuple[int, ...] = field(default_factory=_available_cores)
    memory_bytes: int = limits.STORE_BYTES_DEFAULT
    netns: str | None = None  # named network namespace to serve in
    client_netns: str | None = None  # where local clients of this instance find it (a lab's other end)
    tasks_per_worker: int = limits.TASKS_PER_WORKER
    tasks_per_tenant: int = limits.TASKS_PER_TENANT  # waiting in one worker
    task_budget: int = limits.TASK_BUDGET
    task_yields_max: int = limits.TASK_YIELDS_MAX
    task_milliseconds_max: int = limits.TASK_MILLISECONDS_MAX
    idle_spin_ns: int = limits.IDLE_SPIN_NS
    steal: bool = True  # idle workers take packets from busy siblings
    locality: bool = True  # each tenant's packets go to its home core; otherwise to any, by chance
    steer_away: int = 0  # XDP: packets waiting for a core from which on others get some; 0: never
    balance: bool = True  # move tenants from a core that has been much busier than another
    watchdog_ms: int = limits.WATCHDOG_MS  # a worker whose heartbeat is older is stuck
    quarantine_after: int = limits.QUARANTINE_AFTER  # workers that an extension may get killed before it is refused
    preempt: bool = True  # compile extensions with yields inserted

    def validate(self) -> None:
        """Raise :class:`ServerError` for the first setting that cannot work."""
        if not _INSTANCE_NAME.fullmatch(self.instance):
            raise ServerError(f"instance name {self.instance!r}: letters, digits, '_', '.', '-', at most 32")
        if self.transport not in TRANSPORTS:
            raise ServerError(f"transport {self.transport!r}: one of {', '.join(TRANSPORTS)}")
        if not 1 <= self.port <= 65535:
            raise ServerError(f"port {self.port}: 1 to 65535")
        if not 1 <= len(self.cores) <= limits.WORKERS_MAX:
            raise ServerError(f"{len(self.cores)} cores: 1 to {limits.WORKERS_MAX}")
        missing = set(self.cores) - set(_available_cores())
        if missing:
            raise ServerError(f"no such core: {sorted(missing)}; this process may use {list(_available_cores())}")
        if self.memory_bytes < limits.STORE_BYTES_MIN:
            raise ServerError(f"memory {self.memory_bytes} bytes: at least {limits.STORE_BYTES_MIN >> 20}MiB")
        if self.memory_bytes > limits.STORE_BYTES_MAX:
            raise ServerError(f"memory {self.memory_bytes} bytes: at most {limits.STORE_BYTES_MAX >> 30}GiB")
        if not 1 <= self.tasks_per_worker <= limits.TASKS_PER_WORKER:
            raise ServerError(f"tasks_per_worker {self.tasks_per_worker}: 1 to {limits.TASKS_PER_WORKER}")
        if not 0 <= self.steer_away <= limits.STEER_AWAY_MAX:
            raise ServerError(f"steer_away {self.steer_away}: 0 to {limits.STEER_AWAY_MAX} packets")
        if self.tasks_per_tenant < 1:
            raise ServerError(f"tasks_per_tenant {self.tasks_per_tenant}: at least 1")
        if not limits.WATCHDOG_MS_MIN <= self.watchdog_ms <= limits.WATCHDOG_MS_MAX:
            raise ServerError(f"watchdog_ms {self.watchdog_ms}: {limits.WATCHDOG_MS_MIN} to {limits.WATCHDOG_MS_MAX}")
        if self.quarantine_after < 1:
            raise ServerError(f"quarantine_after {self.quarantine_after}: at least 1")
        for name in ("task_budget", "task_yields_max", "task_milliseconds_max", "idle_spin_ns"):
            if not 1 <= getattr(self, name) <= 1 << 40:
                raise ServerError(f"{name} {getattr(self, name)}: 1 to 2**40")

    @classmethod
    def load(cls, path: Path | None, **overrides: Any) -> ServerConfig:
        """Defaults, then the file's settings, then every override that is not None; validated."""
        settings: dict[str, Any] = {}
        if path is not None:
            try:
                settings = tomllib.loads(path.read_text())
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ServerError(f"{path}: {error}") from error
        settings.update({name: value for name, value in overrides.items() if value is not None})
        if "memory" in settings:
            settings["memory_bytes"] = parse_bytes(settings.pop("memory"))
        if isinstance(settings.get("cores"), str):
            settings["cores"] = parse_cores(settings["cores"])
        known = {item.name: item for item in dataclasses.fields(cls)}
        for name, value in settings.items():
            if name not in known:
                raise ServerError(f"unknown setting {name!r}; known: memory, {', '.join(sorted(known))}")
            if name == "cores":
                if not isinstance(value, list | tuple) or not all(type(core) is int for core in value):
                    raise ServerError("cores: a list of CPU numbers, or a text such as '0-3'")
                settings[name] = tuple(value)
            elif type(value) is not _setting_type(known[name]):
                raise ServerError(f"{name} = {value!r}: wrong type, {known[name].type} is needed")
        config = cls(**settings)
        config.validate()
        return config

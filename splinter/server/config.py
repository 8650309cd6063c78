"""What an operator may set: defaults from :mod:`splinter.limits`, then a TOML file, then the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import ipaddress
import os
import re
import stat
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from splinter import limits
from splinter.errors import ConfigurationError
from splinter.server.instance import check_name
from splinter.server.logs import FORMATS, LEVELS
from splinter.trust import distrust
from splinter.wire import DURABILITIES

TRANSPORTS = ("auto", "xdp", "udp")
KERNEL_TIERS = ("auto", "off")
PARTIAL_CHECKSUMS = ("auto", "accept", "refuse")
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE_DIGITS_MAX = 20
_FILE_BYTES_MAX = 1 << 16
_CPUS_MAX = 1 << 16  # numbers of CPUs are below
_DEVICE_NAME = re.compile(r"[^/:\s]{1,15}")  # as the kernel has it (dev_valid_name)
_COUNT_MAX = 1 << 40
_PORT_MAX = 65535
_CORE_LISTS = ("cores", "log_cores")
DURABILITY_DEFAULT = "interval"  # with a data folder
_CHOICES = {
    "durability": (None, *DURABILITIES),
    "transport": TRANSPORTS,
    "partial_checksums": PARTIAL_CHECKSUMS,
    "kernel_tier": KERNEL_TIERS,
}
_CHOICES |= {"log_format": FORMATS, "log_level": LEVELS}
_RANGES = {  # of numbers: the least, the most, and of what
    "port": (0, _PORT_MAX, ""),
    "task_budget": (1, limits.TASK_BUDGET_MAX, ""),
    "tasks_per_worker": (1, limits.TASKS_PER_WORKER, ""),
    "steer_away": (0, limits.STEER_AWAY_MAX, " packets"),
    "device_wait": (0, limits.DEVICE_WAIT_SECONDS_MAX, " seconds"),
    "metrics_most": (0, limits.METRICS_MOST_MAX, ""),
    "watchdog_ms": (limits.WATCHDOG_MS_MIN, limits.WATCHDOG_MS_MAX, ""),
    **dict.fromkeys(
        (
            "tasks_per_tenant", "task_yields_max", "task_milliseconds_max", "task_wall_milliseconds_max", "idle_spin_ns",
            "quarantine_after",
        ),
        (1, _COUNT_MAX, ""),
    ),
}  # fmt: skip
_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "a text in quotes"}
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")  # RFC 1122, 3.2.1.3
_ASSIGNED = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")  # a line that gives a setting
_NETNS_NAME = re.compile(r"[^/\0]{1,255}")


def parse_bytes(text: str | int) -> int:
    """``"1GiB"``, ``"64 MiB"`` or a plain number, as bytes. Raises :class:`ConfigurationError` for anything else."""
    if type(text) is int:
        return text
    match = re.fullmatch(r"\s*([0-9]+)\s*([A-Za-z]*)\s*", text) if isinstance(text, str) else None
    if match is None or match[2].lower() not in _UNITS or len(match[1]) > _SIZE_DIGITS_MAX:
        raise ConfigurationError(f"{text!r} is not a size: write for example 512MiB or 2GiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def parse_cores(text: str) -> tuple[int, ...]:
    """``"0,2-3"`` as (0, 2, 3)."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < _CPUS_MAX:
            raise ConfigurationError(f"{text!r} is not a list of cores: write for example 0,1 or 0-3")
        cores.extend(range(first, last + 1))
    return tuple(cores)


def parse_address(text: str) -> str:
    """The IPv4 address of one host, or 0.0.0.0. Raises :class:`ConfigurationError` for names, IPv6 addresses, anything else."""
    with contextlib.suppress(ValueError):
        return _one_host(ipaddress.IPv4Address(text))
    with contextlib.suppress(ValueError):
        ipaddress.IPv6Address(text)
        raise ConfigurationError(f"address {text!r}: Splinter serves IPv4 only: write for example 127.0.0.1")
    raise ConfigurationError(f"address {text!r} is not an IPv4 address: write for example 127.0.0.1")


def parse_endpoint(text: str) -> tuple[str, int]:
    """``"127.0.0.1:9464"`` as address and port; no address is this host's loopback. Raises :class:`ConfigurationError`."""
    match = re.fullmatch(r"(.*):([0-9]{1,5})", text)
    if match is None or int(match[2]) > _PORT_MAX:
        raise ConfigurationError(f"metrics {text!r} is not ADDRESS:PORT: write for example 127.0.0.1:9464, or :9464")
    return parse_address(match[1]) if match[1] else "127.0.0.1", int(match[2])


def _one_host(address: ipaddress.IPv4Address) -> str:
    """ConfigurationError is no ValueError: it passes through the caller's ``suppress``."""
    if address.is_multicast:
        what = "the address of a group (multicast)"
    elif address == _BROADCAST:
        what = "everybody's (broadcast)"
    elif address.is_reserved:
        what = "reserved (240.0.0.0/4)"
    elif address in _THIS_NETWORK and not address.is_unspecified:
        what = "no host's (0.0.0.0/8)"
    else:
        return str(address)
    raise ConfigurationError(f"address {address} is {what}: give one that this host has, or 0.0.0.0 for all of them")


def _available_cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


@functools.cache
def _setting_types() -> dict[str, type]:
    """What each setting is in a file, where it is given: None is none of it."""
    hints = typing.get_type_hints(ServerConfig)
    return {name: next(kind for kind in (*typing.get_args(hint), hint) if kind is not NoneType) for name, hint in hints.items()}


def _place(name: str, text: str) -> int:
    """Where a text names a setting; -1: nowhere."""
    match = re.search(rf"(?<!\w){re.escape(name.removesuffix('_bytes'))}(?:_bytes)?(?!\w)", text)
    return match.start() if match else -1


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings of a configuration file, and the line of each, from 1."""
    try:
        with path.open("rb") as file:
            is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)  # others are a shell's pipes, or a terminal
            if is_regular and (reason := distrust(path)):
                raise ConfigurationError(f"{path}: {reason}")
            text = file.read(_FILE_BYTES_MAX + 1)
        if len(text) > _FILE_BYTES_MAX:
            raise ConfigurationError(f"{path}: a configuration has at most {_FILE_BYTES_MAX} bytes")
        settings = tomllib.loads(text.decode())
        lines = enumerate(text.decode().splitlines(), 1)
        found = [(match[1], number) for number, line in lines if (match := _ASSIGNED.match(line))]
        return settings, {name: number for name, number in found if name in settings}
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None


@dataclass
class ServerConfig:
    """Settings of one server. ``cores`` are CPU numbers; core slot *i* (a tenant's home) is ``cores[i]``."""

    instance: str = "default"  # name of this server on the host
    transport: str = "auto"  # "xdp", "udp", or "auto": XDP where the machine can
    device: str | None = None  # network device for XDP
    address: str | None = None  # IPv4 address to serve, 0.0.0.0: all; with XDP the device's own by default, else 127.0.0.1
    port: int = limits.PORT_DEFAULT  # UDP for requests, TCP for control; 0: one that the kernel chooses, told at the start
    redis_port: int | None = None  # TCP port of the Redis protocol; 0: one that the kernel chooses; none: it is not spoken
    cores: tuple[int, ...] = field(default_factory=_available_cores)  # CPUs to run workers on
    memory_bytes: int = limits.STORE_BYTES_DEFAULT  # of the store
    netns: str | None = None  # named network namespace to serve in
    client_netns: str | None = None  # where local clients of this instance find it (a lab's other end)
    tasks_per_worker: int = limits.TASKS_PER_WORKER  # that one worker has under way
    tasks_per_tenant: int = limits.TASKS_PER_TENANT  # waiting in one worker
    task_budget: int = limits.TASK_BUDGET  # of one slice; then a task yields by itself
    task_yields_max: int = limits.TASK_YIELDS_MAX  # of one task, where its tenant has no limit of its own
    task_milliseconds_max: int = limits.TASK_MILLISECONDS_MAX  # likewise: CPU time
    task_wall_milliseconds_max: int = limits.TASK_WALL_MILLISECONDS_MAX  # likewise: since it came, its waits included
    idle_spin_ns: int = limits.IDLE_SPIN_NS  # that an idle worker spins before it sleeps
    steal: bool = True  # idle workers take packets from busy siblings
    locality: bool = True  # each tenant's packets go to its home core; otherwise to any, by chance
    steer_away: int = 0  # XDP: packets waiting for a core from which on others get some; 0: never
    balance: bool = True  # move tenants from a core that has been much busier than another
    watchdog_ms: int = limits.WATCHDOG_MS  # a worker whose heartbeat is older is stuck
    quarantine_after: int = limits.QUARANTINE_AFTER  # workers that an extension may get killed before it is refused
    code_bytes_per_tenant: int = limits.CODE_BYTES_PER_TENANT_MAX  # machine code of one tenant
    device_wait: int = limits.DEVICE_WAIT_SECONDS  # XDP: seconds that the device may be gone before the server ends
    kernel_tier: str = "auto"  # XDP: gets that the kernel can answer by itself, it does; "off": workers answer all
    partial_checksums: str = "auto"  # XDP: "accept" what carries the sum of the pseudo header alone, or "refuse" it
    preempt: bool = True  # compile extensions with yields inserted
    keep_store: bool = False  # XDP: what a clean stop leaves; after a crash the store is there in any case
    fresh: bool = False  # begin with an empty store, whatever an earlier server of the instance left
    log_format: str = "text"  # of standard error: "json" is one document a line
    log_level: str = "info"  # the least that is logged: debug, info, warning or error; audit lines always are
    audit: bool = False  # check a store that was left before serving it
    data: str | None = None  # data folder: what is kept over the server's end; none: everything ends with it
    log_cores: tuple[int, ...] = ()  # CPUs for the process that writes to the data folder; by default any
    durability: str | None = None  # of new tenants that say nothing else: "none", "interval" (default) or "always"; with data
    metrics: str | None = None  # ADDRESS:PORT of an OpenMetrics endpoint; port 0: the kernel chooses one; none: there is none
    metrics_most: int = limits.METRICS_MOST  # tenants, and extensions, that have series of their own; the others are summed
    salvage: bool = False  # leave out what is damaged in the data folder; else the start is refused

    def validate(self) -> None:
        """Raise :class:`ConfigurationError` for the first setting that cannot work."""
        check_name(self.instance)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(f"{name} {getattr(self, name)!r}: one of {', '.join(filter(None, choices))}")
        for name, (least, most, unit) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigurationError(f"{name} {getattr(self, name)}: {least} to {most}{unit}")
        for name in ("durability", "salvage", "log_cores"):
            if self.data is None and getattr(self, name):
                raise ConfigurationError(f"{name} needs a data folder: name one with --data")
        if self.redis_port is not None and not 0 <= self.redis_port <= _PORT_MAX:
            raise ConfigurationError(f"redis_port {self.redis_port}: 0 to {_PORT_MAX}")
        if self.redis_port is not None and self.redis_port == self.port != 0:
            raise ConfigurationError(f"redis_port {self.redis_port}: that is the port of control, which is TCP, too")
        if self.data == "":
            raise ConfigurationError("data '': name a folder")
        if self.address is not None:
            self.address = parse_address(self.address)
        if self.metrics is not None:
            parse_endpoint(self.metrics)
        if self.device is not None and (not _DEVICE_NAME.fullmatch(self.device) or self.device in (".", "..")):
            raise ConfigurationError(f"device {self.device!r} is no name of a network device")
        for name in ("netns", "client_netns"):
            value = getattr(self, name)
            if value is not None and (not _NETNS_NAME.fullmatch(value) or value in (".", "..")):
                raise ConfigurationError(f"{name} {value!r} is no name of a network namespace")
        if not 1 <= len(self.cores) <= limits.WORKERS_MAX:
            raise ConfigurationError(f"{len(self.cores)} cores: 1 to {limits.WORKERS_MAX}")
        for name in _CORE_LISTS:
            if len(set(chosen := getattr(self, name))) != len(chosen):
                raise ConfigurationError(f"{name} {','.join(map(str, chosen))}: one is named twice")
            if missing := set(chosen).difference(available := _available_cores()):
                raise ConfigurationError(f"{name}: no such core: {sorted(missing)}; this process may use {list(available)}")
        if self.memory_bytes < limits.STORE_BYTES_MIN:
            raise ConfigurationError(f"memory {self.memory_bytes} bytes: at least {limits.STORE_BYTES_MIN >> 20}MiB")
        if self.memory_bytes > limits.STORE_BYTES_MAX:
            raise ConfigurationError(f"memory {self.memory_bytes} bytes: at most {limits.STORE_BYTES_MAX >> 30}GiB")
        if self.code_bytes_per_tenant < limits.CODE_BYTES_MAX:
            raise ConfigurationError(f"code_bytes_per_tenant {self.code_bytes_per_tenant}: at least {limits.CODE_BYTES_MAX}")

    @classmethod
    def load(cls, path: Path | None, **overrides: Any) -> ServerConfig:
        """Defaults, then the file's settings, then every override that is not None; validated."""
        settings, lines = _read_file(path) if path is not None else ({}, {})
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls._made(settings | given)
        except ConfigurationError as error:
            # What is wrong is named by the setting that comes first in the message.
            named = [(place, name) for name in lines.keys() - given.keys() if (place := _place(name, str(error))) >= 0]
            if not named:
                raise
            raise ConfigurationError(f"{path}:{lines[min(named)[1]]}: {error}") from None

    @classmethod
    def _made(cls, settings: dict[str, Any]) -> ServerConfig:
        if "memory" in settings:
            settings["memory_bytes"] = parse_bytes(settings.pop("memory"))
        for name in _CORE_LISTS:
            if isinstance(settings.get(name), str):
                settings[name] = parse_cores(settings[name])
        known = {item.name: item for item in dataclasses.fields(cls)}
        for name, value in settings.items():
            if name not in known:
                raise ConfigurationError(f"unknown setting {name!r}; known: memory, {', '.join(sorted(known))}")
            if name in _CORE_LISTS:
                if not isinstance(value, list | tuple) or not all(type(core) is int for core in value):
                    raise ConfigurationError(f"{name}: a list of CPU numbers, or a text such as '0-3'")
                settings[name] = tuple(value)
            elif type(value) is not _setting_types()[name]:
                needed = _TYPE_NAMES[_setting_types()[name]]
                raise ConfigurationError(f"{name} = {value!r}: {needed} is needed")
        config = cls(**settings)
        config.validate()
        return config
